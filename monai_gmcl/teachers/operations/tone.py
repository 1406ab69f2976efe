# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Operations on intensity and color."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.teachers.operations.base import PixelOperation, broadcast, signed

__all__ = ["Brightness", "ChannelGain", "Contrast", "Gamma", "Saturation"]

# keeps the slope of the gamma curve finite at black
GAMMA_OFFSET = 0.01
LUMA = (0.299, 0.587, 0.114)


class ToneOperation(PixelOperation):
    """An operation with one amount per image."""

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return 1


class Brightness(ToneOperation):
    """``x + amount``, as a fraction of the value range."""

    name, unit, usual, bound = "brightness", "of range", 0.12, 0.3

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        return images + broadcast(signed(draws, strength), images)

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {"_target_": "monai.transforms.RandShiftIntensity", "offsets": [-strength, strength]}


class Contrast(ToneOperation):
    """``m + (1 + amount) (x - m)`` with the image's mean m."""

    name, unit, usual, bound = "contrast", "factor", 0.3, 0.8

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        mean = broadcast(images.flatten(1).mean(1), images)
        return images + broadcast(signed(draws, strength), images) * (images - mean)

    def limits(self, strength: float) -> tuple[float, float]:
        return 1 - strength, 1 + strength

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {"_target_": "monai.transforms.RandScaleIntensityFixedMean", "factors": [-strength, strength]}


class Gamma(ToneOperation):
    """``x ** exp(amount)``, with an offset that keeps the slope finite at black; 0 and 1 do not change."""

    name, unit, usual, bound = "gamma", "exponent", 0.3, 1.0

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        exponent = broadcast(signed(draws, strength).exp(), images)
        base = (images.clamp(0, 1) + GAMMA_OFFSET) / (1 + GAMMA_OFFSET)
        return images * base ** (exponent - 1)

    def limits(self, strength: float) -> tuple[float, float]:
        return math.exp(-strength), math.exp(strength)

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {"_target_": "monai.transforms.RandAdjustContrast", "gamma": list(self.limits(strength))}


class ChannelGain(PixelOperation):
    """``(1 + amount) x`` with an amount for each channel; for images of more than one channel."""

    name, unit, usual, bound = "channel_gain", "factor", 0.1, 0.3

    @classmethod
    def suits(cls, in_channels: int) -> bool:
        return in_channels > 1

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return image_shape[0]

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        return images * (1 + broadcast(signed(draws, strength), images))

    def limits(self, strength: float) -> tuple[float, float]:
        return 1 - strength, 1 + strength

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {
            "_target_": "monai.transforms.RandScaleIntensity",
            "factors": [-strength, strength],
            "channel_wise": True,
        }


class Saturation(ToneOperation):
    """``g + (1 + amount) (x - g)`` with the pixel's gray value g; for RGB images. MONAI has no counterpart."""

    name, unit, usual, bound = "saturation", "factor", 0.4, 1.0

    @classmethod
    def suits(cls, in_channels: int) -> bool:
        return in_channels == 3

    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        luma = torch.tensor(LUMA, dtype=images.dtype).to(images.device, non_blocking=True)
        luma = luma.view(-1, *[1] * (images.ndim - 2))
        gray = (images * luma).sum(1, keepdim=True)
        return images + broadcast(signed(draws, strength), images) * (images - gray)

    def limits(self, strength: float) -> tuple[float, float]:
        return 1 - strength, 1 + strength
