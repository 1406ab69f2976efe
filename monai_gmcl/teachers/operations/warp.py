# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

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

    An output point at ``p`` (pixels from the center, in the order x, y, z) takes its value from
    ``exp(logarithm) p + displacement(p)``. Affine operations add to the logarithm, so their order does not matter.

    Args:
        spatial_size: of the images, in the order of their axes.
        logarithm: ``(B, d + 1, d + 1)``, in pixels.
        displacement: ``(B, *spatial, d)`` in half image sizes, or None.
    """

    spatial_size: tuple[int, ...]
    logarithm: Tensor
    displacement: Tensor | None = None

    @classmethod
    def identity(cls, images: Tensor) -> Warp:
        """Return the warp that moves no point of images ``(B, C, *spatial)``."""
        size = images.ndim - 1
        return cls(tuple(images.shape[2:]), images.new_zeros(len(images), size, size))

    def add(self, logarithm: Tensor) -> Warp:
        """Return the warp with another affine map mixed in."""
        return replace(self, logarithm=self.logarithm + logarithm)

    def displace(self, displacement: Tensor) -> Warp:
        """Return the warp with a further displacement."""
        before = self.displacement
        return replace(self, displacement=displacement if before is None else before + displacement)

    def sample(self, images: Tensor) -> Tensor:
        """Resample images ``(B, C, *spatial)``, once, linearly, reflecting at the borders."""
        scale = torch.tensor([2 / size for size in reversed(self.spatial_size)] + [1.0], dtype=images.dtype)
        scale = scale.to(images.device, non_blocking=True)
        matrix = torch.linalg.matrix_exp(self.logarithm) * scale[:, None] / scale
        grid = functional.affine_grid(matrix[:, :-1], list(images.shape), align_corners=False)
        if self.displacement is not None:
            grid = grid + self.displacement
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def along_axes(images: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each spatial axis of ``(B, C, *spatial)`` by its matrix, ``(new, old)`` or ``(B, new, old)``."""
    for axis, matrix in enumerate(matrices, start=2):
        moved = images.movedim(axis, -1)
        product = moved.flatten(1, -2) @ matrix.transpose(-1, -2)
        images = product.reshape(*moved.shape[:-1], -1).movedim(-1, axis)
    return images
