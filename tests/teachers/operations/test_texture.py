# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.teachers.operations.texture import Blur, Erasing, Noise


def impulse(*size):
    image = torch.zeros(1, 1, *size, dtype=torch.float64)
    image[(0, 0, *(n // 2 for n in size))] = 1
    return image


def blur(images, sigma):
    draws, strength = torch.ones(len(images), 1, dtype=images.dtype), torch.full((len(images),), sigma).to(images)
    return Blur().apply(images, draws, strength)


@pytest.mark.parametrize("size", [(31, 41), (21, 23, 25)])
def test_blur_spreads_a_point_with_the_given_standard_deviation(size):
    blurred = blur(impulse(*size), 1.5)
    assert blurred.sum().item() == pytest.approx(1)
    assert blurred.min() > -1e-12
    for axis, n in enumerate(size, start=2):
        profile = blurred.sum([a for a in range(2, blurred.ndim) if a != axis]).flatten()
        distance = torch.arange(n, dtype=torch.float64) - n // 2
        assert (profile * distance**2).sum().item() == pytest.approx(1.5**2, rel=1e-6)


def test_blur_is_the_discrete_gaussian():
    profile = blur(impulse(41, 41), 1.2).sum(2).flatten()[20:22]
    variance = torch.tensor(1.2**2, dtype=torch.float64)
    expected = torch.stack([torch.special.i0e(variance), torch.special.i1e(variance)])
    torch.testing.assert_close(profile, expected)


def test_blur_keeps_flat_images_up_to_the_borders():
    flat = torch.full((2, 3, 8, 9), 0.3)
    torch.testing.assert_close(blur(flat, 2.0), flat)


def test_blur_can_be_learned_far_below_a_pixel():
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    strength = torch.tensor([0.05], requires_grad=True)
    (gradient,) = torch.autograd.grad(Blur().apply(images, torch.ones(1, 1), strength).square().sum(), strength)
    assert gradient.item() < -0.01


def test_blur_differs_between_the_images_of_a_batch():
    images = impulse(15, 15).expand(2, 1, 15, 15)
    draws = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    sharp, blurred = Blur().apply(images, draws, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(sharp, images[0])
    torch.testing.assert_close(blurred, blur(images, 1.0)[1])


def test_noise_has_the_given_standard_deviation():
    images = torch.full((2, 1, 64, 64), 0.5)
    operation = Noise()
    draws = operation.draw(2, (1, 64, 64), torch.Generator().manual_seed(0), torch.device("cpu"))
    draws[:, 0] = torch.tensor([1.0, 0.5])
    deviation = operation.apply(images, draws, torch.full((2,), 0.2)).std((1, 2, 3))
    torch.testing.assert_close(deviation, torch.tensor([0.2, 0.1]), rtol=0.05, atol=0)


@pytest.mark.parametrize("size", [(32, 40), (16, 18, 20)])
def test_erasing_fills_a_box_of_the_given_side_with_the_mean(size):
    images = torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(0))
    draws = torch.tensor([[1.0] + [0.5] * len(size)])
    changed = Erasing().apply(images, draws, torch.tensor([0.5]))
    inside = (..., *(slice(n // 2 - 1, n // 2 + 1) for n in size))
    mean = images.flatten(2).mean(2).view(1, 2, *[1] * len(size))
    assert (changed - mean)[inside].abs().max() < 5e-3
    outside = (..., *(slice(0, 1) for _ in size))
    torch.testing.assert_close(changed[outside], images[outside], rtol=0, atol=1e-5)
    covered = ((changed - mean) / (images - mean)).flatten().clamp(0, 1).neg().add(1).mean()
    assert covered.item() == pytest.approx(0.5 ** len(size), rel=0.02)


def test_erasing_without_strength_changes_no_bit():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Erasing().apply(images, torch.full((2, 3), 0.5), torch.zeros(2)), images)
