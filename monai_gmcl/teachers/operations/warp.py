# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Resampling of images and masks on a transformed grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Warp", "along_axes"]


@dataclass(frozen=True)
class Warp:
    """A smooth change of geometry: an affine map, given by its logarithm, plus a displacement.

    The value of an output point ``p`` (in pixels from the center, in the order x, y, z) is the input at
    ``exp(logarithm) p + displacement(p)``. Affine operations add to the logarithm, so that their order has no effect.

    Args:
        spatial_size: size of the images, in the order of their axes.
        logarithm: ``(B, d + 1, d + 1)``, in pixels.
        displacement: ``(B, *spatial, d)`` in half image sizes, or None.
    """

    spatial_size: tuple[int, ...]
    logarithm: Tensor
    displacement: Tensor | None = None

    @classmethod
    def identity(cls, images: Tensor) -> Warp:
        """Return the identity for images ``(B, C, *spatial)``."""
        return cls.still(images.shape[2:], images)

    @classmethod
    def still(cls, spatial_size: Sequence[int], like: Tensor) -> Warp:
        """Return the identity for ``len(like)`` images of this size, with the type and device of ``like``."""
        side = len(spatial_size) + 1
        return cls(tuple(spatial_size), like.new_zeros(len(like), side, side))

    def add(self, logarithm: Tensor) -> Warp:
        """Return the warp with another affine map added to the logarithm."""
        return replace(self, logarithm=self.logarithm + logarithm)

    def displace(self, displacement: Tensor) -> Warp:
        """Return the warp with an additional displacement."""
        before = self.displacement
        return replace(self, displacement=displacement if before is None else before + displacement)

    def sample(self, images: Tensor) -> Tensor:
        """Resample images ``(B, C, *spatial)`` once, with linear interpolation and reflection at the borders."""
        return functional.grid_sample(
            images, self._grid(images), mode="bilinear", padding_mode="reflection", align_corners=False
        )

    def sample_labels(self, labels: Tensor, padding: int | None = None) -> Tensor:
        """Resample masks ``(B, K, *spatial)`` of any type with nearest-neighbor interpolation.

        Points from outside have the value ``padding``; by default, the mask is reflected at its borders.
        """
        values = labels.to(self.logarithm.dtype)
        grid = self._grid(values)
        moved = functional.grid_sample(values, grid, mode="nearest", padding_mode="reflection", align_corners=False)
        if padding is not None:
            moved = torch.where((grid.abs() <= 1).all(-1)[:, None], moved, padding)
        return moved.to(labels.dtype)

    def _grid(self, images: Tensor) -> Tensor:
        """Return the source of each point, ``(B, *spatial, d)``, in half image sizes from the center."""
        scale = torch.tensor([2 / size for size in reversed(self.spatial_size)] + [1.0], dtype=images.dtype)
        scale = scale.to(images.device, non_blocking=True)
        matrix = torch.linalg.matrix_exp(self.logarithm) * scale[:, None] / scale
        grid = functional.affine_grid(matrix[:, :-1], list(images.shape), align_corners=False)
        return grid if self.displacement is None else grid + self.displacement


def along_axes(images: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each spatial axis of ``(B, C, *spatial)`` by its matrix, ``(new, old)`` or ``(B, new, old)``."""
    for axis, matrix in enumerate(matrices, start=2):
        moved = images.movedim(axis, -1)
        product = moved.flatten(1, -2) @ matrix.transpose(-1, -2)
        images = product.reshape(*moved.shape[:-1], -1).movedim(-1, axis)
    return images
