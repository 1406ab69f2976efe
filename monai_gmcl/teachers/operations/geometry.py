# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Operations that move pixels: rotation, zoom, shear, shift and elastic deformation."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.teachers.noise_bank import DRAWS, bank_noise
from monai_gmcl.teachers.operations.base import GeometryOperation, signed
from monai_gmcl.teachers.operations.warp import Warp, along_axes

__all__ = ["Elastic", "Rotation", "Shear", "Shift", "Zoom"]

SMOOTHSTEP_SPREAD = math.sqrt(26 / 35)
"""Mean standard deviation along one axis after smoothstep interpolation between nodes of standard deviation 1."""
BICUBIC_SPREAD = math.sqrt(6 / 7)
"""The same for torch's bicubic interpolation, which MONAI's elastic warp uses."""


class AffineOperation(GeometryOperation):
    """An operation that adds its amounts times fixed matrices to the logarithm of the affine map."""

    @abstractmethod
    def directions(self, spatial_size: Sequence[int]) -> Sequence[Sequence[tuple[int, int, float]]]:
        """Return, for each random number, the entries ``(row, column, value)`` of its matrix; rows are x, y, z."""

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return len(self.directions(image_shape[1:]))

    def apply(self, warp: Warp, draws: Tensor, strength: Tensor) -> Warp:
        directions = self.directions(warp.spatial_size)
        basis = warp.logarithm.new_zeros(len(directions), *warp.logarithm.shape[1:])
        for number, entries in enumerate(directions):
            for row, column, value in entries:
                basis[number, row, column] = value
        return warp.add(torch.einsum("bn,nij->bij", signed(draws, strength), basis))


class Rotation(AffineOperation):
    """Rotation about the center; in 3-D with a rotation vector, one amount for each axis."""

    name, unit, usual, bound = "rotation", "rad", 0.35, math.pi / 2

    def directions(self, spatial_size: Sequence[int]) -> Sequence[Sequence[tuple[int, int, float]]]:
        planes = itertools.combinations(range(len(spatial_size)), 2)
        return [[(i, j, -1.0), (j, i, 1.0)] for i, j in planes]

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        axes = ["range_x"] if len(spatial_size) == 2 else ["range_x", "range_y", "range_z"]
        return {
            "_target_": "monai.transforms.RandRotate",
            **dict.fromkeys(axes, strength),
            **_sampling(spatial_size),
        }


class Zoom(AffineOperation):
    """Magnification by ``exp(amount)`` about the center."""

    name, unit, usual, bound = "zoom", "factor", 0.15, 0.6

    def directions(self, spatial_size: Sequence[int]) -> Sequence[Sequence[tuple[int, int, float]]]:
        return [[(i, i, -1.0) for i in range(len(spatial_size))]]

    def limits(self, strength: float) -> tuple[float, float]:
        return math.exp(-strength), math.exp(strength)

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        low, high = self.limits(strength)
        return {
            "_target_": "monai.transforms.RandZoom",
            "min_zoom": low,
            "max_zoom": high,
            "mode": "bicubic" if len(spatial_size) == 2 else "trilinear",
            "padding_mode": "reflect",
        }


class Shear(AffineOperation):
    """Shear of every axis along every other one."""

    name, unit, usual, bound = "shear", "factor", 0.1, 0.4

    def directions(self, spatial_size: Sequence[int]) -> Sequence[Sequence[tuple[int, int, float]]]:
        return [[(i, j, 1.0)] for i, j in itertools.permutations(range(len(spatial_size)), 2)]

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        count = len(self.directions(spatial_size))
        return {
            "_target_": "monai.transforms.RandAffine",
            "shear_range": [[-strength, strength]] * count,
            **_sampling(spatial_size),
        }


class Shift(AffineOperation):
    """Shift along every axis, as a fraction of its size."""

    name, unit, usual, bound = "shift", "of size", 0.05, 0.25

    def directions(self, spatial_size: Sequence[int]) -> Sequence[Sequence[tuple[int, int, float]]]:
        last = len(spatial_size)
        return [[(i, last, float(size))] for i, size in enumerate(reversed(spatial_size))]

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {
            "_target_": "monai.transforms.RandAffine",
            "translate_range": [[-strength * size, strength * size] for size in spatial_size],
            **_sampling(spatial_size),
        }


class Elastic(GeometryOperation):
    """Smooth warp: random displacements of a coarse lattice, as fractions of the size.

    Displacements are interpolated by smoothsteps, without overshoot.
    """

    name, unit, usual, bound = "elastic", "of size", 0.03, 0.1
    nodes = 4

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return DRAWS

    def count(self, dimensions: int) -> int:
        """Return the number of displacements of the lattice, one for each axis and node."""
        return int(dimensions * self.nodes**dimensions)

    def apply(self, warp: Warp, draws: Tensor, strength: Tensor) -> Warp:
        # erf maps normal numbers to uniform numbers from -1 to 1
        uniform = torch.erf(bank_noise(draws, self.count(len(warp.spatial_size))) / math.sqrt(2))
        return self.displace(warp, strength[:, None] * uniform)

    def displace(self, warp: Warp, displacements: Tensor) -> Warp:
        """Add displacements of the nodes ``(B, count)``, as fractions of the size, one axis after the other."""
        dimensions = len(warp.spatial_size)
        lattice = (2 * displacements).view(-1, dimensions, *[self.nodes] * dimensions)
        smooth = along_axes(lattice, [_interpolation(size, self.nodes, lattice) for size in warp.spatial_size])
        return warp.displace(smooth.movedim(1, -1))

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        # the standard deviation of uniform numbers in [-strength, strength] after interpolation, in pixels
        spread = strength / math.sqrt(3) * SMOOTHSTEP_SPREAD ** len(spatial_size) * min(spatial_size)
        spacing = min(spatial_size) / (self.nodes - 1)
        if len(spatial_size) == 2:
            magnitude = spread / BICUBIC_SPREAD**2
            return {
                "_target_": "monai.transforms.Rand2DElastic",
                "spacing": [spacing, spacing],
                "magnitude_range": [magnitude, magnitude],
                "padding_mode": "reflection",
            }
        # MONAI smooths uniform noise with one value per voxel, which divides its spread by (2 sqrt(pi) sigma)^(3/2)
        sigma = spacing / 2
        magnitude = spread * math.sqrt(3) * (2 * math.sqrt(math.pi) * sigma) ** 1.5
        return {
            "_target_": "monai.transforms.Rand3DElastic",
            "sigma_range": [sigma, sigma],
            "magnitude_range": [magnitude, magnitude],
            "padding_mode": "reflection",
        }


def _sampling(spatial_size: Sequence[int]) -> dict[str, Any]:
    """Return MONAI's resampling mode. Several linear resamplings of one image would smooth it too much."""
    return {"mode": "bicubic" if len(spatial_size) == 2 else "bilinear", "padding_mode": "reflection"}


def _interpolation(size: int, nodes: int, like: Tensor) -> Tensor:
    """Return the matrix ``(size, nodes)`` of smoothstep interpolation from lattice to pixels."""
    position = torch.linspace(0, nodes - 1, size, dtype=like.dtype, device=like.device)
    nearness = (1 - (position[:, None] - torch.arange(nodes, device=like.device)).abs()).clamp_min(0)
    return nearness**2 * (3 - 2 * nearness)
