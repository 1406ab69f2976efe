# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch

from monai_gmcl.teachers.operations import Warp
from monai_gmcl.teachers.operations.geometry import Elastic, Rotation, Shear, Shift, Zoom


def coordinates(size):
    """Image whose channels are x, y(, z), in pixels from the center."""
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def source_points(operation, draws, strength, size):
    """Where each point near the center takes its value from, and the points themselves."""
    images = coordinates(size)
    draws = torch.tensor([draws], dtype=torch.float64)
    warp = operation.apply(Warp.identity(images), draws, torch.tensor([strength], dtype=torch.float64))
    center = (..., *(slice(n // 2 - 2, n // 2 + 2) for n in size))
    return warp.sample(images)[center][0], images[center][0]


@pytest.mark.parametrize(("draw", "sign"), [(1.0, 1), (0.0, -1), (0.75, 0.5)])
def test_rotation_turns_about_the_center_of_images_of_any_proportion(draw, sign):
    (x_from, y_from), (x, y) = source_points(Rotation(), [draw], 0.4, (16, 24))
    angle = sign * 0.4
    torch.testing.assert_close(x_from, math.cos(angle) * x - math.sin(angle) * y)
    torch.testing.assert_close(y_from, math.sin(angle) * x + math.cos(angle) * y)


@pytest.mark.parametrize(("number", "plane", "fixed"), [(0, (0, 1), 2), (1, (0, 2), 1), (2, (1, 2), 0)])
def test_in_3d_each_random_number_turns_one_plane(number, plane, fixed):
    draws = [0.5, 0.5, 0.5]
    draws[number] = 1.0
    moved, points = source_points(Rotation(), draws, 0.3, (16, 18, 20))
    a, b = plane
    torch.testing.assert_close(moved[fixed], points[fixed])
    torch.testing.assert_close(moved[a], math.cos(0.3) * points[a] - math.sin(0.3) * points[b])


def test_rotation_in_3d_about_all_axes_keeps_distances():
    moved, points = source_points(Rotation(), [1.0, 0.1, 0.8], 0.3, (16, 18, 20))
    torch.testing.assert_close(moved.square().sum(0), points.square().sum(0))


@pytest.mark.parametrize("size", [(16, 24), (12, 14, 16)])
def test_zoom_magnifies_by_the_limits_of_the_table(size):
    low, high = Zoom().limits(0.3)
    for draw, factor in ((1.0, high), (0.0, low)):
        moved, points = source_points(Zoom(), [draw], 0.3, size)
        torch.testing.assert_close(moved, points / factor)


def test_shear_moves_one_axis_in_proportion_to_another():
    (x_from, y_from), (x, y) = source_points(Shear(), [1.0, 0.5], 0.2, (16, 24))
    torch.testing.assert_close(x_from, x + 0.2 * y)
    torch.testing.assert_close(y_from, y)
    assert Shear().latent_size((1, 8, 8, 8)) == 6


def test_shift_is_a_fraction_of_each_axis():
    (x_from, y_from), (x, y) = source_points(Shift(), [1.0, 0.0], 0.125, (16, 24))
    torch.testing.assert_close(x_from, x + 3)
    torch.testing.assert_close(y_from, y - 2)


@pytest.mark.parametrize("size", [(16, 24), (8, 10, 12)])
def test_elastic_displacement_is_smooth_and_never_beyond_its_strength(size):
    operation, images = Elastic(), coordinates(size)
    draws = torch.rand(50, operation.latent_size((1, *size)), generator=torch.Generator().manual_seed(0)).double()
    strength = torch.full((50,), 0.1, dtype=torch.float64)
    warp = Warp.identity(images.expand(50, -1, *[-1] * len(size)))
    fraction = operation.apply(warp, draws, strength).displacement / 2
    assert 0.09 < fraction.abs().max().item() <= 0.1
    steps = fraction.diff(dim=2)
    assert 0 < steps.abs().max() < 0.2 * 1.5 * operation.nodes / (size[1] - 1)


def test_elastic_with_equal_displacements_is_a_shift():
    images = coordinates((16, 24))
    displacements = torch.tensor([[0.125] * 16 + [-0.125] * 16], dtype=torch.float64)
    center = (..., slice(6, 10), slice(10, 14))
    x_from, y_from = Elastic().displace(Warp.identity(images), displacements).sample(images)[center][0]
    x, y = images[center][0]
    torch.testing.assert_close(x_from, x + 3)
    torch.testing.assert_close(y_from, y - 2)


@pytest.mark.parametrize("size", [(4, 4), (4, 4, 4)])
def test_displacements_of_the_elastic_lattice_are_uniform(size):
    # as many pixels as nodes: each pixel shows its node
    images = torch.zeros(400, 1, *size, dtype=torch.float64)
    draws = torch.rand(400, Elastic().latent_size((1, *size)), generator=torch.Generator().manual_seed(0)).double()
    warp = Elastic().apply(Warp.identity(images), draws, torch.full((400,), 0.5, dtype=torch.float64))
    found = warp.displacement.flatten().sort().values
    assert (found - torch.linspace(-1, 1, len(found), dtype=torch.float64)).abs().max() < 2 * 1.63 / len(found) ** 0.5
