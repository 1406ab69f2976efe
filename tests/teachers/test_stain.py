# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics import diversity_kept
from monai_gmcl.optical_density import combine_stains, separate_stains
from monai_gmcl.teachers.stain import StainTeacher

LABELS = torch.tensor([0, 1, 1, 0])
ROWS = np.array([(0.65, 0.70, 0.29), (0.07, 0.99, 0.11)])
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
RESIDUAL = np.cross(ROWS[0], ROWS[1])
RESIDUAL /= np.linalg.norm(RESIDUAL)
LATENTS = 8 + 32
"""Four numbers for each of two stains, then 4 x 4 nodes for each: gains, offsets, tilts, turns, field."""


def slides(n: int = 4, size: int = 16) -> Tensor:
    """Images with .1 to .9 of hematoxylin and eosin."""
    stains = 0.1 + 0.8 * torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(2))
    stains[:, 2] = 0
    return combine_stains(stains)


def pure(hematoxylin: float, eosin: float) -> Tensor:
    density = hematoxylin * ROWS[0] + eosin * ROWS[1]
    return torch.tensor(np.exp(-density), dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 4, 4)


def latents_with(**numbers: tuple[float, float]) -> Tensor:
    latents = torch.zeros(1, LATENTS)
    for i, name in enumerate(("gain", "offset", "tilt", "turn")):
        latents[0, 2 * i : 2 * i + 2] = torch.tensor(numbers.get(name, (0.0, 0.0)))
    return latents


def draw(teacher: StainTeacher, n: int = 4, seed: int = 1) -> Tensor:
    return teacher.draw_latents(n, (3, 16, 16), torch.Generator().manual_seed(seed))


def density_of(images: Tensor) -> np.ndarray:
    return -np.log(images[0, :, 0, 0].detach().double().numpy())


def test_gain_multiplies_each_stain_by_its_own_factor():
    changed = StainTeacher()(pure(0.5, 0.3), LABELS[:1], latents_with(gain=(1.0, -1.0)))
    log_gain = 0.7 * np.tanh(0.25 / 0.7)
    expected = 0.5 * np.exp(log_gain) * ROWS[0] + 0.3 * np.exp(-log_gain) * ROWS[1]
    np.testing.assert_allclose(density_of(changed), expected, rtol=1e-4)


def test_offset_adds_stain_everywhere():
    changed = StainTeacher()(pure(0.5, 0.3), LABELS[:1], latents_with(offset=(1.0, 2.0)))
    expected = (0.5 + 0.2 * np.tanh(0.06 / 0.2)) * ROWS[0] + (0.3 + 0.2 * np.tanh(0.12 / 0.2)) * ROWS[1]
    np.testing.assert_allclose(density_of(changed), expected, rtol=1e-4)


def test_tilt_moves_a_stain_toward_the_other_and_turn_toward_the_residual():
    changed = StainTeacher()(pure(0.5, 0.0), LABELS[:1], latents_with(tilt=(1.0, 0.0), turn=(-1.5, 0.0)))
    direction = ROWS[0] + 0.25 * np.tanh(0.08 / 0.25) * ROWS[1] + 0.25 * np.tanh(-1.5 * 0.08 / 0.25) * RESIDUAL
    np.testing.assert_allclose(density_of(changed), 0.5 * direction / np.linalg.norm(direction), rtol=1e-4)


def test_a_field_of_equal_nodes_is_a_gain():
    latents = torch.zeros(1, LATENTS)
    latents[0, 8 : 8 + 16] = 1.0
    changed = StainTeacher()(pure(0.5, 0.3), LABELS[:1], latents)
    expected = 0.5 * np.exp(0.4 * np.tanh(0.12 / 0.4)) * ROWS[0] + 0.3 * ROWS[1]
    np.testing.assert_allclose(density_of(changed), expected, rtol=1e-4)


def test_a_field_varies_smoothly_over_the_image():
    latents = torch.zeros(1, LATENTS)
    latents[0, 8:] = torch.randn(32, generator=torch.Generator().manual_seed(0))
    hematoxylin = separate_stains(StainTeacher()(pure(0.5, 0.3).expand(1, 3, 4, 4), LABELS[:1], latents))[0, 0]
    assert hematoxylin.std() > 0.01
    wide = separate_stains(StainTeacher()(pure(0.5, 0.3)[..., :1, :1].expand(1, 3, 64, 64), LABELS[:1], latents))[0, 0]
    assert wide.diff(dim=0).abs().max() < 0.1 * (wide.max() - wide.min())


def test_tissue_without_a_stain_gets_none_by_gain():
    glass = torch.ones(1, 3, 4, 4)
    assert torch.equal(StainTeacher()(glass, LABELS[:1], latents_with(gain=(2.0, 2.0), turn=(1.0, 1.0))), glass)


def test_every_magnitude_gets_a_gradient_from_the_images():
    teacher = StainTeacher()
    weights = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (weights * teacher(slides(), LABELS, draw(teacher))).sum().backward()
    assert teacher.magnitude.grad is not None
    assert teacher.magnitude.grad.abs().min() > 0


def test_black_and_white_pixels_keep_gradients_finite():
    teacher = StainTeacher()
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    teacher(images, LABELS[:2], draw(teacher, 2)).sum().backward()
    assert torch.isfinite(teacher.magnitude.grad).all()


@pytest.mark.gate
@pytest.mark.parametrize("difficulty", [0.3, 1.0, 3.0])
def test_training_that_tries_to_make_draws_alike_keeps_half_of_the_diversity(difficulty):
    teacher, images, draws = StainTeacher(), slides(3), 4
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-2)
    for step in range(200):
        latents = draw(teacher, 3 * draws, seed=step)
        sources, labels = images.repeat_interleave(draws, 0), LABELS[:3].repeat_interleave(draws)
        changed = teacher(sources, labels, latents, difficulty).unflatten(0, (3, draws))
        optimizer.zero_grad()
        changed.var(1).mean().backward()
        optimizer.step()
    kept = diversity_kept(teacher, images, LABELS[:3], difficulty, draws=32)
    assert 0.5 <= kept < 0.8  # below .8: the attack was a real one
    assert max(max(row.values()) for row in teacher.magnitudes().values()) < 1


@pytest.mark.parametrize(("spatial_dims", "in_channels"), [(3, 3), (2, 1)])
def test_anything_but_rgb_images_raises(spatial_dims, in_channels):
    with pytest.raises(ConfigurationError, match=f"RGB .* got {spatial_dims} and {in_channels}"):
        StainTeacher(spatial_dims, in_channels)
