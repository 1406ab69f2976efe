# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.data.meta_obj import set_track_meta

from monai_gmcl.exceptions import CheckpointError, ConfigurationError, ImageRangeError, LabelError
from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher, StainTeacher, draw_latents, save_teacher
from monai_gmcl.transforms import RandTeacherAugment


def seeded(teacher, seed=0, prob=1.0, difficulty=1.0):
    return RandTeacherAugment(teacher, prob, difficulty).set_random_state(seed)


def image_of(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def teachers_and_images(draw):
    spatial_dims = draw(st.sampled_from([2, 3]))
    channels = draw(st.integers(1, 4))
    size = draw(st.lists(st.integers(3, 9), min_size=spatial_dims, max_size=spatial_dims))
    value_range = draw(st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]))
    kinds = ["policy", "image", "latent", *(["stain"] if (spatial_dims, channels) == (2, 3) else [])]
    kind = draw(st.sampled_from(kinds))
    if kind == "policy":
        teacher = PolicyTeacher(spatial_dims, channels, 3, value_range)
    elif kind == "image":
        teacher = ImageTeacher(
            spatial_dims, channels, 3, value_range, condition_on_label=draw(st.booleans()), channels=4
        )
    elif kind == "stain":
        teacher = StainTeacher(value_range=value_range, num_classes=3)
    else:
        teacher = LatentTeacher(spatial_dims, channels, 3, size, value_range, channels=2)
    kinds = ["float16", "float32", "float64", *(["uint8", "int16"] if value_range[1] == 255 else [])]
    dtype = getattr(torch, draw(st.sampled_from(kinds)))
    low, high = value_range
    image = (low + (high - low) * image_of(channels, *size, seed=draw(st.integers(0, 99)))).to(dtype)
    label = draw(st.one_of(st.integers(0, 2), st.just(np.array([0.0, 1.0, 1.0])), st.just(torch.tensor([2]))))
    return teacher, image, label


@settings(max_examples=60, deadline=None)
@given(teachers_and_images(), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_shape_type_and_range_are_kept_and_the_seed_decides(teacher_and_image, seed, difficulty):
    teacher, image, label = teacher_and_image
    before = image.clone()
    transform = seeded(teacher, seed, difficulty=(0.0, difficulty))
    copied = pickle.loads(pickle.dumps(transform))
    changed = transform(image, label)
    assert (changed.shape, changed.dtype, changed.device) == (image.shape, image.dtype, image.device)
    low, high = teacher.value_range
    assert low <= changed.min() and changed.max() <= high
    assert torch.equal(image, before)
    assert torch.equal(copied(image, label), changed)
    assert not changed.requires_grad


def test_images_of_other_seeds_differ(teacher):
    image = image_of(3, 16, 16)
    assert not torch.equal(seeded(teacher, 0)(image), seeded(teacher, 1)(image))


def test_what_an_image_becomes_does_not_depend_on_the_images_before_it(teacher):
    first, second = seeded(teacher), seeded(teacher)
    first(image_of(3, 16, 16, seed=1))
    second(image_of(3, 20, 12, seed=2))
    image = image_of(3, 16, 16)
    assert torch.equal(first(image), second(image))


def test_torch_s_global_generator_is_neither_used_nor_moved(teacher):
    image, results = image_of(3, 16, 16), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(seeded(teacher)(image))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


def test_a_fraction_prob_of_the_images_is_changed(teacher):
    transform, image = seeded(teacher, prob=0.3), image_of(3, 4, 4)
    changed = sum("synthetic" in transform(image).meta for _ in range(600))
    assert changed == pytest.approx(180, abs=40)


def test_an_image_that_is_not_changed_keeps_its_meta(teacher, private_image):
    image = seeded(teacher, prob=0.0)(private_image)
    assert torch.equal(image, private_image) and image.meta["filename_or_obj"] == private_image.meta["filename_or_obj"]


def test_a_range_of_difficulties_is_drawn_from_and_difficulty_0_changes_nothing(teacher):
    image = image_of(3, 16, 16)
    assert torch.equal(seeded(teacher, difficulty=0.0)(image), image)
    transform = seeded(teacher, difficulty=(0.5, 1.5))
    drawn = np.array([transform(image).meta["difficulty"] for _ in range(60)])
    assert 0.5 <= drawn.min() < 0.7 and 1.3 < drawn.max() <= 1.5


def test_the_same_draw_can_be_applied_again(teacher):
    transform, image = seeded(teacher), image_of(3, 16, 16)
    changed = transform(image)
    assert torch.equal(transform(image, randomize=False), changed)
    assert not torch.equal(transform(image), changed)


@pytest.mark.parametrize("latent", [False, True])
def test_the_meta_says_how_the_image_came_about(latent, private_image):
    teacher = LatentTeacher(2, 3, 4, (24, 24)) if latent else PolicyTeacher(2, 3, 4)
    image = seeded(teacher, difficulty=(0.5, 1.0))(private_image, 3)
    meta = image.meta
    assert meta["synthetic"] is True and meta["teacher"] == type(teacher).__name__ and meta["label"] == 3
    latents = draw_latents(teacher, 1, image.shape, torch.Generator().manual_seed(meta["seed"]))
    with torch.no_grad():
        again = teacher.eval()(private_image.as_tensor()[None], torch.tensor([3]), latents, meta["difficulty"])[0]
    assert torch.equal(image.as_tensor(), again)


def test_nothing_of_the_source_s_meta_but_its_geometry_is_kept(teacher, private_image):
    image = seeded(teacher)(private_image, np.array([0.0, 1.0, 0.0, 1.0]))
    assert "doe" not in repr(image.meta) and "ward" not in repr(image.meta) and not image.applied_operations
    assert torch.equal(image.affine, private_image.affine)
    assert list(image.pixdim) == list(private_image.pixdim)
    assert image.meta["geometry_of_source"] is True and image.meta["space"] == "LPS"
    assert image.meta["label"] == [0.0, 1.0, 0.0, 1.0]
    assert "doe" in repr(private_image.meta) and private_image.applied_operations


def test_an_image_from_latents_alone_has_no_geometry_of_the_source(private_image):
    image = seeded(LatentTeacher(2, 3, 4, (24, 24)))(private_image, 0)
    assert image.meta["geometry_of_source"] is False
    assert torch.equal(image.affine, torch.eye(4, dtype=torch.float64))
    assert set(image.meta) == {
        "synthetic", "teacher", "label", "seed", "difficulty", "geometry_of_source", "space", "affine"
    }  # fmt: skip


def test_the_meta_can_be_read_from_a_checkpoint_of_plain_data(teacher, private_image):
    file = io.BytesIO()
    torch.save(dict(seeded(teacher)(private_image, 1).meta), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["label"] == 1


def test_without_tracking_of_meta_images_are_plain_tensors(teacher, private_image):
    set_track_meta(False)
    try:
        assert type(seeded(teacher)(private_image)) is torch.Tensor
        assert type(seeded(teacher, prob=0.0)(private_image)) is torch.Tensor
    finally:
        set_track_meta(True)
    assert type(seeded(teacher)(private_image.numpy())) is MetaTensor


def test_no_autograd_graph_leaves_the_transform(teacher):
    image = image_of(3, 8, 8).requires_grad_()
    changed = seeded(teacher)(image)
    assert changed.grad_fn is None and not changed.requires_grad


def test_the_teacher_that_was_given_stays_as_it_is_and_its_training_changes_nothing():
    teacher, image = ImageTeacher(2, 3, 2), image_of(3, 8, 8)
    transform = seeded(teacher)
    assert teacher.training and all(parameter.requires_grad for parameter in teacher.parameters())
    expected = seeded(teacher)(image)
    with torch.no_grad():
        teacher.magnitude += 1
    assert torch.equal(transform(image), expected)
    assert not torch.equal(seeded(teacher)(image), expected)


def test_the_path_of_a_teacher_file_does_as_well(teacher, tmp_path):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors")
    image = image_of(3, 16, 16)
    for given_path in (path, str(path)):
        assert torch.equal(seeded(given_path)(image), seeded(teacher)(image))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"teacher": {"weight": 1}}, ConfigurationError, "Teacher or the path of a teacher file, got a dict"),
        ({"teacher": "nowhere.safetensors"}, CheckpointError, "no teacher file nowhere.safetensors"),
        ({"prob": 1.5}, ConfigurationError, "prob must be from 0 to 1, got 1.5"),
        ({"difficulty": -1.0}, ConfigurationError, "difficulty must be .* got -1.0"),
        ({"difficulty": (2.0, 1.0)}, ConfigurationError, r"difficulty must be .* got \(2.0, 1.0\)"),
        ({"difficulty": "strong"}, ConfigurationError, "difficulty must be .* got 'strong'"),
    ],
)
def test_wrong_arguments_raise(teacher, arguments, error, message):
    with pytest.raises(error, match=message):
        RandTeacherAugment(**{"teacher": teacher, **arguments})


@pytest.mark.parametrize(
    ("image", "label", "error", "message"),
    [
        (torch.rand(1, 8, 8), 0, ConfigurationError, r"3 channel\(s\) and 2 spatial dimensions, got .* \(1, 8, 8\)"),
        (torch.rand(3, 8, 8, 8), 0, ConfigurationError, r"got an image of shape \(3, 8, 8, 8\)"),
        (255 * torch.rand(3, 8, 8), 0, ImageRangeError, "values from 0 to 1 .* Scale the images"),
        (torch.rand(3, 8, 8), 4, LabelError, r"one class from 0 to 3 .* got 4 .torch.int64."),
        (torch.rand(3, 8, 8), -1, LabelError, "one class from 0 to 3"),
        (torch.rand(3, 8, 8), 1.0, LabelError, "class labels as integers, or 4 float labels"),
        (torch.rand(3, 8, 8), np.array([0.5, 0.5]), LabelError, r"4 float labels .* got torch.float64 \(1, 2\)"),
        (torch.rand(3, 8, 8), "tumor", LabelError, "number or an array of numbers, got 'tumor'"),
    ],
)
def test_images_and_labels_that_do_not_fit_raise(teacher, image, label, error, message):
    with pytest.raises(error, match=message):
        seeded(teacher)(image, label)


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 0, 4)])
def test_a_source_of_another_size_than_the_latent_teacher_makes_or_none_raises(shape):
    with pytest.raises(ConfigurationError, match=r"LatentTeacher was built .* got .*\(3, ., 4\)"):
        seeded(LatentTeacher(2, 3, 4, (24, 24)))(image_of(*shape), 0)


class Shaded(torch.nn.Module):
    """A user's own teacher, a plain module in double precision."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((64,), 0.01, dtype=torch.float64))

    def forward(self, images, labels, latents, difficulty):
        return (images + difficulty * (latents @ self.weight)[:, None, None, None]).clamp(0, 1)


def test_a_plain_module_that_is_called_as_a_teacher_does_as_well():
    image = image_of(3, 6, 6)
    changed = seeded(Shaded())(image, 7)
    assert changed.dtype == image.dtype and changed.meta["teacher"] == "Shaded"
    assert torch.equal(changed, seeded(Shaded())(image, 7)) and not torch.equal(changed, image)
    with pytest.raises(LabelError, match="class from 0 to K - 1"):
        seeded(Shaded())(image, -1)


def test_a_teacher_that_looks_at_labels_needs_one():
    teacher = ImageTeacher(2, 3, 2, condition_on_label=True)
    with pytest.raises(LabelError, match="ImageTeacher needs labels, and this image has none"):
        seeded(teacher)(image_of(3, 8, 8))


def test_repeating_a_draw_before_the_first_raises(teacher):
    with pytest.raises(ConfigurationError, match="No random parameters were drawn"):
        RandTeacherAugment(teacher, 1.0)(image_of(3, 8, 8), randomize=False)
