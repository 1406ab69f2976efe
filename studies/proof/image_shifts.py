# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What another laboratory, scanner or archive does to an image: stain, contrast, blur, compression."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.networks.layers.convutils import gaussian_1d
from monai.networks.layers.simplelayers import separable_filtering
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.optical_density import combine_stains, separate_stains

__all__ = ["SHIFTS", "appearance_shift", "blur", "jpeg"]

SPREAD = 0.3
"""Amounts of stain, or the contrast of a grey image, vary by this share either way."""
OFFSET = 0.1
"""Brightness of a grey image varies by this much either way."""
BLUR_SIGMA = 1.0
"""Pixels."""
JPEG_QUALITY = 30


def appearance_shift(images: Tensor, seed: int = 0) -> Tensor:
    """Return images as stained, or exposed, by others: each image changed by amounts of its own.

    RGB: amounts of hematoxylin and of eosin, in optical density, each times a number from .7 to 1.3, as the stains of
    laboratories differ (Tellez et al. 2019, arXiv 1902.06543, vary them likewise in training). Grey: contrast about
    .5 times .7 to 1.3, and up to .1 brighter or darker.

    Args:
        images: from 0 to 1, ``(B, 3, H, W)`` or ``(B, 1, H, W)``.
        seed: of the amounts.

    Raises:
        ConfigurationError: other shapes.
    """
    _check(images)
    generator = torch.Generator().manual_seed(seed)
    draws = (2 * torch.rand(len(images), 2, 1, 1, generator=generator) - 1).to(images)
    if images.shape[1] == 3:
        amounts = separate_stains(images)
        return combine_stains(torch.cat([amounts[:, :2] * (1 + SPREAD * draws), amounts[:, 2:]], 1))
    contrast, brightness = 1 + SPREAD * draws[:, :1], OFFSET * draws[:, 1:]
    return ((images - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


def blur(images: Tensor) -> Tensor:
    """Return images out of focus: a Gaussian of one pixel's standard deviation, edges repeated.

    Args:
        images: ``(B, C, H, W)``.
    """
    _check(images)
    kernel = gaussian_1d(torch.tensor(BLUR_SIGMA), truncated=4.0).to(images)
    kernel = kernel / kernel.sum()
    return separable_filtering(images, [kernel, kernel], mode="replicate")


def jpeg(images: Tensor) -> Tensor:
    """Return images after a round trip through JPEG at quality 30, with Pillow's other defaults.

    Args:
        images: from 0 to 1, ``(B, 3, H, W)`` or ``(B, 1, H, W)``.
    """
    _check(images)
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    found = torch.from_numpy(np.stack([_round_trip(image) for image in pixels]))
    return found.permute(0, 3, 1, 2).to(images) / 255


SHIFTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "stain_shift": appearance_shift,
    "blur": lambda images, _: blur(images),
    "jpeg": lambda images, _: jpeg(images),
}
"""Of images and seed, by their names in the rows of a comparison."""


def _round_trip(pixels: NDArray[Any]) -> NDArray[Any]:
    """Of one image, ``(H, W, C)`` bytes."""
    stored = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stored, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(stored)).reshape(pixels.shape)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ConfigurationError(f"Expected images (B, 1, H, W) or (B, 3, H, W), found shape {tuple(images.shape)}.")
