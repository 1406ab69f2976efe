# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Operations on detail: blur, noise and erasing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.teachers.noise_bank import DRAWS, bank_noise
from monai_gmcl.teachers.operations.base import PixelOperation, broadcast
from monai_gmcl.teachers.operations.warp import along_axes

__all__ = ["Blur", "Erasing", "Noise"]


class OneSidedOperation(PixelOperation):
    """An operation with amounts in [0, strength]; the first random number of an image determines the amount."""

    def limits(self, strength: float) -> tuple[float, float]:
        return 0.0, strength


class Blur(OneSidedOperation):
    """Gaussian blur; the amount is its standard deviation.

    The filter is the discrete Gaussian (Lindeberg, Scale-space for discrete signals, IEEE TPAMI 1990) with reflecting
    borders: cosine mode k of an axis of n pixels is multiplied by ``exp(-sigma^2 (1 - cos(pi k / n)))``. For sigma well
    below a pixel, a sampled Gaussian kernel would not depend on sigma, so that sigma could not be learned.
    """

    name, unit, usual, bound = "blur", "pixels", 1.0, 3.0

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return 1

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        variance = (strength * draws[:, 0]) ** 2
        modes = [_cosine_modes(size, images) for size in images.shape[2:]]
        spectrum = along_axes(images, modes)
        for axis, size in enumerate(images.shape[2:]):
            frequency = torch.arange(size, dtype=images.dtype, device=images.device) * (math.pi / size)
            decay = torch.exp(-variance[:, None] * (1 - torch.cos(frequency)))
            spectrum = spectrum * decay.view(len(images), *[1] * (axis + 1), size, *[1] * (images.ndim - axis - 3))
        return along_axes(spectrum, [mode.T for mode in modes])

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {
            "_target_": "monai.transforms.RandGaussianSmooth",
            **{axis: [0.0, strength] for axis in ("sigma_x", "sigma_y", "sigma_z")},
            "approx": "scalespace",
        }


class Noise(OneSidedOperation):
    """White Gaussian noise; the amount is its standard deviation as a fraction of the value range."""

    name, unit, usual, bound = "noise", "of range", 0.05, 0.25

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return 1 + DRAWS

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        noise = bank_noise(draws[:, 1:], math.prod(images.shape[1:])).view_as(images)
        return images + broadcast(strength * draws[:, 0], images) * noise

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {"_target_": "monai.transforms.RandGaussianNoise", "std": strength}


class Erasing(OneSidedOperation):
    """A box with soft edges, filled with the mean of each channel; the amount is its side as a fraction of the size.

    Along one axis the box of half side h around c, blurred by a logistic kernel, is
    ``sigmoid((d + h) / w) - sigmoid((d - h) / w)``, d = x - c: 0 at h = 0 and smooth everywhere.
    """

    name, unit, usual, bound = "erasing", "of size", 0.3, 0.6
    edge = 0.5
    """Width w of the edges, in pixels."""

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return len(image_shape)

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        side = strength * draws[:, 0]
        mask = images.new_ones(1)
        for axis, size in enumerate(images.shape[2:]):
            along = self._box(side * size / 2, draws[:, axis + 1] * size, size)
            mask = mask[..., None] * along.view(len(images), *[1] * axis, size)
        mean = images.mean(tuple(range(2, images.ndim)), keepdim=True)
        return images + mask[:, None] * (mean - images)

    def _box(self, half_side: Tensor, center: Tensor, size: int) -> Tensor:
        distance = torch.arange(size, device=center.device) + 0.5 - center[:, None]
        half_side = half_side[:, None]
        return torch.sigmoid((distance + half_side) / self.edge) - torch.sigmoid((distance - half_side) / self.edge)

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {
            "_target_": "monai.transforms.RandCoarseDropout",
            "holes": 1,
            "spatial_size": 1,
            "max_spatial_size": [max(1, round(strength * size)) for size in spatial_size],
            "fill_value": 0.5,
        }


def _cosine_modes(size: int, like: Tensor) -> Tensor:
    """Return the orthonormal discrete cosine transform ``(size, size)``, one mode per row."""
    index = torch.arange(size, dtype=like.dtype, device=like.device)
    modes = torch.cos(math.pi / size * index[:, None] * (index + 0.5)) * math.sqrt(2 / size)
    modes[0] /= math.sqrt(2)
    return modes
