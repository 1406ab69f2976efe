# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Intensity ranges: the file values that are mapped to 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_gmcl.data.image_files import DEEPEST, picture_array
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["check_intensity_range", "deep_range", "scaled_picture"]

LEAST_SHARE = 0.3
"""Fraction of the 16-bit range below which an image gets its own range; a 14-bit image uses a quarter."""
OUTSIDE = 0.5
"""Percentage of the pixels of a 16-bit image below, and above, its range."""


def check_intensity_range(intensity_range: Any) -> tuple[float, float] | None:
    """Return a range as two finite numbers, the first below the second, or None; raise ConfigurationError otherwise."""
    if intensity_range is None:
        return None
    pair = isinstance(intensity_range, Sequence) and not isinstance(intensity_range, str) and len(intensity_range) == 2
    numbers = pair and all(isinstance(value, int | float) and math.isfinite(value) for value in intensity_range)
    if not numbers or not intensity_range[0] < intensity_range[1]:
        raise ConfigurationError(
            "intensity_range must be the lowest and the highest value of the images, such as (0, 4095) or (-1000, "
            f"400); got {intensity_range!r}."
        )
    return float(intensity_range[0]), float(intensity_range[1])


def deep_range(grey: NDArray[Any]) -> tuple[float, float]:
    """Return the range of a 16-bit gray image that is mapped to 0 and 1.

    The range is 0 to 65,535 if the image uses at least .3 of it. X-rays often have 10 to 14 bits, and CT stored in PNG
    a few thousand values far from 0. For these images, the range is from the .5 % to the 99.5 % quantile of the pixels,
    so that single pixels have no effect. The range of a nearly constant image is 0 to 65,535.
    """
    low = float(np.percentile(grey, OUTSIDE, method="higher"))
    high = float(np.percentile(grey, 100 - OUTSIDE, method="lower"))
    return (low, high) if 0 < high - low < LEAST_SHARE * DEEPEST else (0.0, float(DEEPEST))


def scaled_picture(
    image: Image.Image, channels: int, intensity_range: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """Convert a picture to numbers from 0 to 255, ``(1, H, W)`` or ``(3, H, W)``.

    By default, the values 0 and 255 are kept; for 16-bit gray images, :func:`deep_range` is mapped to 0 and 255.
    """
    deep = image.mode.startswith("I")
    if intensity_range is None and not deep:
        return picture_array(image, channels)
    if deep:
        grey = np.asarray(image, dtype=np.float32)
        array = np.stack([grey] * channels)
        intensity_range = intensity_range or deep_range(grey)
    else:
        array = picture_array(image, channels)
    low, high = intensity_range or (0.0, 255.0)
    scaled: NDArray[np.float32] = ((array - np.float32(low)) * np.float32(255 / (high - low))).clip(0, 255)
    return scaled
