# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics import diversity_kept
from monai_gmcl.teachers import image
from monai_gmcl.teachers.image import ImageTeacher

LABELS = torch.tensor([0, 1, 1, 0])


def build(spatial_dims: int = 2, in_channels: int = 3, seed: int = 0, **options) -> ImageTeacher:
    torch.manual_seed(seed)
    return ImageTeacher(spatial_dims, in_channels, 2, **options)


def neutral(in_channels: int = 1, **options) -> ImageTeacher:
    """A teacher whose network says nothing: gains of 1, no shift."""
    teacher = build(2, in_channels, **options)
    torch.nn.init.zeros_(teacher.network.head.weight)
    torch.nn.init.zeros_(teacher.network.pixel_head.weight)
    return teacher


def images_like(*shape: int, seed: int = 3) -> Tensor:
    """Smooth images between .25 and .75, as tissue is."""
    noise = torch.rand(*shape[:2], *[4] * (len(shape) - 2), generator=torch.Generator().manual_seed(seed))
    mode = "bilinear" if len(shape) == 4 else "trilinear"
    return 0.25 + 0.5 * torch.nn.functional.interpolate(noise, shape[2:], mode=mode, align_corners=True)


def latents_of(teacher: ImageTeacher, n: int = 4, seed: int = 1, size: int = 16) -> Tensor:
    shape = (teacher.in_channels, *[size] * teacher.spatial_dims)
    return teacher.draw_latents(n, shape, torch.Generator().manual_seed(seed))


def silent(teacher: ImageTeacher, monkeypatch: pytest.MonkeyPatch, **numbers: list[float]) -> Tensor:
    """Latents of one image, all 0; its warp and its residual take these numbers, 0 by default, not the bank's."""
    _, warp, residual = teacher.sizes
    taken = [numbers.get("warp", [0.0] * warp), numbers.get("residual", [0.0] * residual)]
    by_count = {len(values): torch.tensor([values]) for values in taken}
    monkeypatch.setattr(image, "bank_noise", lambda draws, count: by_count[count])
    return torch.zeros_like(latents_of(teacher, 1))


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (4, 1, 17, 30), (4, 1, 6, 6), (4, 2, 9, 12, 10)])
def test_images_of_any_size_come_back_in_range_and_changed(shape):
    teacher, images = build(len(shape) - 2, shape[1]), images_like(*shape)
    changed = teacher(images, LABELS, teacher.draw_latents(4, shape[1:]))
    assert changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert (changed - images).abs().flatten(1).mean(1).min() > 0.01


def test_a_higher_difficulty_changes_more():
    teacher, images = build(), images_like(4, 3, 16, 16)
    latents = latents_of(teacher)
    changes = [(teacher(images, LABELS, latents, d) - images).square().mean().item() for d in (0.25, 0.5, 1.0, 2.0)]
    assert changes == sorted(changes)
    assert math.isfinite((teacher(images, LABELS, latents, 100.0)).sum().item())


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("condition_on_label", [False, True])
def test_every_parameter_gets_a_gradient_from_the_images(spatial_dims, condition_on_label):
    teacher = build(spatial_dims, 2, condition_on_label=condition_on_label)
    size = [12] * spatial_dims
    weights = torch.randn(4, 2, *size, generator=torch.Generator().manual_seed(0))
    changed = teacher(images_like(4, 2, *size), LABELS, latents_of(teacher))
    (weights * changed).sum().backward()
    for name, parameter in teacher.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_one_channel_is_stretched_around_its_mean_and_moved(monkeypatch):
    teacher, images = neutral(), images_like(1, 1, 16, 16)
    latents = silent(teacher, monkeypatch)
    latents[0, :2] = torch.tensor([0.8, -0.4])
    # squash(.5 z) with bound 1.5, by hand; the offset counts .15 of that
    factor = math.exp(1.5 * math.tanh(0.5 * 0.8 / 1.5))
    offset = 0.15 * 1.5 * math.tanh(0.5 * -0.4 / 1.5)
    expected = images.mean() + offset + factor * (images - images.mean())
    torch.testing.assert_close(teacher(images, LABELS[:1], latents), expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_channels_are_mixed_by_the_exponential_of_a_matrix(monkeypatch):
    teacher, images = neutral(2), images_like(1, 2, 8, 8)
    latents = silent(teacher, monkeypatch)
    latents[0, 1] = 0.9  # what the first channel gets of the second: exp([[0, a], [0, 0]]) = [[1, a], [0, 1]]
    amount = 1.5 * math.tanh(0.5 * 0.9 / 1.5) / math.sqrt(2)
    pixels = images.numpy()
    expected = pixels.copy()
    expected[0, 0] += amount * (pixels[0, 1] - pixels[0, 1].mean())
    np.testing.assert_allclose(teacher(images, LABELS[:1], latents).detach().numpy(), expected.clip(0, 1), atol=1e-5)


def test_equal_displacements_shift_the_image(monkeypatch):
    teacher, images = neutral(), images_like(1, 1, 32, 32)
    one_pixel = 0.06 / 0.025 * math.atanh(1 / 32 / 0.06)
    # the first 16 nodes displace along x
    latents = silent(teacher, monkeypatch, warp=[one_pixel] * 16 + [0.0] * 16)
    changed = teacher(images, LABELS[:1], latents)
    torch.testing.assert_close(changed[..., :-1], images[..., 1:], atol=1e-4, rtol=0)


def test_equal_noise_on_all_lattices_brightens_by_its_sum(monkeypatch):
    teacher, images = neutral(), images_like(1, 1, 16, 16)
    latents = silent(teacher, monkeypatch, residual=[1.0] * teacher.sizes[2])
    added = 3 * 0.3 * math.tanh(0.05 / math.sqrt(3) / 0.3)
    torch.testing.assert_close(teacher(images, LABELS[:1], latents), images + added, atol=1e-5, rtol=0)


def test_a_learned_magnitude_multiplies_its_change(monkeypatch):
    teacher, images = neutral(), images_like(1, 1, 16, 16)
    latents = silent(teacher, monkeypatch, residual=[1.0] * teacher.sizes[2])
    before = teacher(images, LABELS[:1], latents) - images
    teacher.magnitude.data[2] = math.atanh(0.5)
    after = teacher(images, LABELS[:1], latents) - images
    torch.testing.assert_close(after, before * 1.7**0.5, atol=1e-5, rtol=0)
    assert teacher.magnitudes() == pytest.approx({"color": 1.0, "warp": 1.0, "residual": 1.7**0.5})


def test_a_conditioned_teacher_sees_the_label():
    teacher, images = build(condition_on_label=True), images_like(4, 3, 16, 16)
    latents = latents_of(teacher)
    ours = teacher(images, LABELS, latents)
    assert not torch.allclose(ours, teacher(images, 1 - LABELS, latents), atol=1e-4)
    assert torch.equal(ours, teacher(images, torch.nn.functional.one_hot(LABELS, 2).float(), latents))


@pytest.mark.gate
@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("difficulty", [0.3, 1.0, 3.0])
def test_training_that_tries_to_make_draws_alike_keeps_half_of_the_diversity(in_channels, difficulty):
    teacher, images = build(2, in_channels), images_like(3, in_channels, 12, 12)
    labels, draws = LABELS[:3], 4
    generator = torch.Generator().manual_seed(5)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-2)
    for _ in range(200):
        latents = latents_of(teacher, 3 * draws, seed=int(torch.randint(10**6, (1,), generator=generator)))
        sources = images.repeat_interleave(draws, 0)
        changed = teacher(sources, labels.repeat_interleave(draws), latents, difficulty).unflatten(0, (3, draws))
        optimizer.zero_grad()
        changed.var(1).mean().backward()
        optimizer.step()
    kept = diversity_kept(teacher, images, labels, difficulty, draws=32)
    assert 0.5 <= kept < 0.9  # below .9: the attack was a real one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color": 0.0}, "color must be positive and finite, got 0.0"),
        ({"warp": -1.0}, "warp must be positive"),
        ({"residual": math.nan}, "residual must be positive"),
        ({"channels": 6}, "multiple of 4, got 6"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        ImageTeacher(2, 3, 2, **arguments)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    teacher, images = build(), images_like(4, 3, 16, 16)
    latents = latents_of(teacher)
    with torch.autocast("cpu", dtype=dtype):
        changed = teacher(images, LABELS, latents)
    assert torch.equal(changed, teacher(images, LABELS, latents))


def test_images_of_two_pixels_are_too_small_and_of_three_are_not() -> None:
    teacher = build()
    for side in (2, 3):
        images, latents = torch.rand(1, 3, side, side), teacher.draw_latents(1, (3, side, side))
        if side == 3:
            assert teacher(images, LABELS[:1], latents, 1.0).shape == images.shape
        else:
            with pytest.raises(ConfigurationError, match=r"at least 3 pixels along a side, got \(1, 3, 2, 2\)"):
                teacher(images, LABELS[:1], latents, 1.0)
