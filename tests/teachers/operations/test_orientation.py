# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_gmcl import PolicyTeacher
from monai_gmcl.teachers.operations.orientation import Flip, QuarterTurn

SHAPES = [(1, 6, 6), (3, 5, 8), (2, 8, 5), (1, 4, 6, 6), (2, 6, 5, 4)]


def images_of(n, shape):
    """Images no pixel of which is like another, whole numbers."""
    return torch.arange(n * int(np.prod(shape)), dtype=torch.float32).view(n, *shape)


def apply(operation, images, draws, acts=True):
    n = len(images)
    return operation.apply(images, torch.tensor(draws).view(n, 1), torch.full((n,), acts))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flip_mirrors_one_axis_each_by_an_equal_part_of_the_draws(shape):
    axes = len(shape) - 1
    draws = [(k + part) / axes for k in range(axes) for part in (0.0, 0.5, 0.999)]
    images = images_of(len(draws), shape)
    changed = apply(Flip(), images, draws).numpy()
    for i, image in enumerate(images.numpy()):
        assert np.array_equal(changed[i], np.flip(image, 1 + i // 3))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_quarter_turn_turns_the_last_plane_and_never_changes_the_shape(shape):
    quarters = (1, 2, 3) if shape[-1] == shape[-2] else (2,)
    draws = [(k + part) / len(quarters) for k in range(len(quarters)) for part in (0.0, 0.5, 0.999)]
    images = images_of(len(draws), shape)
    changed = apply(QuarterTurn(), images, draws)
    assert changed.shape == images.shape
    for i, image in enumerate(images.numpy()):
        assert np.array_equal(changed[i].numpy(), np.rot90(image, quarters[i // 3], (-2, -1)))


@pytest.mark.parametrize("operation", [Flip(), QuarterTurn()])
@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_images_on_which_it_acts_change_and_pixels_keep_their_values_to_the_bit(operation, shape):
    images = torch.rand(12, *shape, generator=torch.Generator().manual_seed(0))
    draws = torch.rand(12, 1, generator=torch.Generator().manual_seed(1))
    acts = torch.arange(12) % 3 == 0
    changed = operation.apply(images, draws, acts)
    assert torch.equal(changed[~acts], images[~acts])
    for before, after in zip(images[acts], changed[acts], strict=True):
        assert not torch.equal(before, after)
        for channel in range(shape[0]):
            assert torch.equal(before[channel].flatten().sort().values, after[channel].flatten().sort().values)


@pytest.mark.parametrize("operation", [Flip(), QuarterTurn()])
def test_the_highest_draw_that_rounding_can_give_is_a_draw_like_others(operation):
    images = images_of(1, (1, 4, 4))
    assert torch.equal(apply(operation, images, [1.0]), apply(operation, images, [0.999]))


def test_mirroring_comes_before_the_other_changes():
    """Orientation is exact: what is resampled is the flipped image."""
    shape = (1, 9, 9)
    both = PolicyTeacher(2, 1, 2, include=["flip", "shift"], probability=1.0)
    alone = PolicyTeacher(2, 1, 2, include=["shift"], probability=1.0)
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    latents = both.draw_latents(5, shape, torch.Generator().manual_seed(1))
    latents[:, 0], latents[:, 2] = 0.0, 0.75  # acts, along the second axis
    changed = both(images, torch.zeros(5), latents)
    expected = alone(images.flip(3), torch.zeros(5), latents[:, [1, *range(3, latents.shape[1])]])
    assert torch.equal(changed, expected)
