# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""What every teacher of the package keeps to, whatever it changes."""

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher, StainTeacher, load_teacher, save_teacher

LABELS = torch.tensor([0, 1, 1, 0])
SHAPE = (3, 16, 16)
CHANGING = {
    "policy": lambda **options: PolicyTeacher(2, 3, 2, **options),
    "image": lambda **options: ImageTeacher(2, 3, 2, **options),
    "stain": lambda **options: StainTeacher(**options),
}
KINDS = {**CHANGING, "latent": lambda **options: LatentTeacher(2, 3, 2, 16, channels=4, **options)}


@pytest.fixture(params=KINDS)
def teacher(request):
    torch.manual_seed(0)
    return KINDS[request.param]()


@pytest.fixture(params=CHANGING)
def kind(request):
    torch.manual_seed(0)
    return CHANGING[request.param]


@pytest.fixture
def images():
    """Smooth images between .25 and .75, as tissue is."""
    noise = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    return 0.25 + 0.5 * torch.nn.functional.interpolate(noise, SHAPE[1:], mode="bilinear", align_corners=True)


def latents_of(teacher, seed=1, n=4):
    return teacher.draw_latents(n, SHAPE, torch.Generator().manual_seed(seed))


def test_the_same_arguments_give_the_same_bits_and_other_latents_other_images(teacher, images):
    first, second, other = (teacher(images, LABELS, latents_of(teacher, seed)) for seed in (1, 1, 2))
    assert first.shape == images.shape and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, second)
    assert (first - other).abs().flatten(1).mean(1).min() > 0.002


def test_an_image_does_not_depend_on_the_batch_around_it(teacher, images):
    latents = latents_of(teacher)
    alone = torch.cat([teacher(images[i : i + 1], LABELS[i : i + 1], latents[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(teacher(images, LABELS, latents), alone, atol=1e-5, rtol=0)


def test_a_saved_teacher_comes_back_equal(teacher, images, tmp_path):
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    loaded = load_teacher(save_teacher(teacher, tmp_path / "teacher.safetensors"))
    assert all(not value.is_meta for value in (*loaded.parameters(), *loaded.buffers()))
    assert torch.equal(loaded(images, LABELS, latents_of(teacher)), teacher(images, LABELS, latents_of(teacher)))


def test_latents_of_another_size_and_images_of_another_shape_raise(teacher, images):
    with pytest.raises(ConfigurationError, match=r"latents \(.*got \(4, 5\)"):
        teacher(images, LABELS, torch.zeros(4, 5))
    with pytest.raises(ConfigurationError, match=r"got .*\(1, 9, 9\)"):
        teacher.draw_latents(4, (1, 9, 9))


def test_difficulty_0_is_the_identity_to_the_bit_and_small_ones_come_close_to_it(kind, images):
    teacher = kind()
    assert torch.equal(teacher(images, LABELS, latents_of(teacher), 0.0), images)
    torch.testing.assert_close(teacher(images, LABELS, latents_of(teacher), 1e-4), images, atol=2e-3, rtol=0)
    assert teacher(images, LABELS, latents_of(teacher), 100.0).isfinite().all()


def test_labels_are_not_looked_at(kind, images):
    teacher = kind()
    changed = (teacher(images, labels, latents_of(teacher)) for labels in (LABELS, 1 - LABELS))
    assert torch.equal(*changed)


def test_one_that_changes_images_needs_them(kind):
    with pytest.raises(ConfigurationError, match="needs sources, got None"):
        kind()(None, LABELS, latents_of(kind()))


def test_images_of_another_range_change_as_plain_ones_do(kind, images):
    plain, other = kind(), kind(value_range=(-1000.0, 400.0))
    other.load_state_dict(plain.state_dict())
    expected = plain(images, LABELS, latents_of(plain)) * 1400 - 1000
    torch.testing.assert_close(other(images * 1400 - 1000, LABELS, latents_of(plain)), expected, atol=0.05, rtol=0)
