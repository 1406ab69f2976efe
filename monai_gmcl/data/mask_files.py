# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of masks with one integer for each pixel, and their faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from monai.utils.enums import MetaKeys
from numpy.typing import NDArray

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import read_picture, read_volume

__all__ = ["Mask", "foreign_values", "mask_affine", "number_classes", "read_mask"]

NUMBERS = ("1", "L", "P", "I")
"""Modes of pictures whose pixels are single numbers."""
ROUNDING = 1e-3
"""By which a slope in a volume's file may move whole numbers."""
SHOWN = 5
"""Largest number of values in a message."""


class Mask(NamedTuple):
    """The content of a mask file.

    Attributes:
        values: integers, int32 ``(H, W)`` or ``(D, H, W)``; volumes are in RAS orientation.
        meta: MONAI's meta data of a volume, with the affine; empty for a picture.
        palette: whether the values are palette indices.
    """

    values: NDArray[np.int32]
    meta: dict[str, Any]
    palette: bool = False


def read_mask(path: str, pixel_limit: int | None = None) -> Mask | Fault:
    """Read a PNG, TIFF or NIfTI mask, or report what is wrong with it.

    Values are those of the file: 0 and 1 for 1-bit images, palette indices, 8-bit and 16-bit gray values, and values of
    volumes scaled by the slope of the file. JPEG, colors, transparency and fractions are faults.
    """
    if path.lower().endswith((".nii", ".nii.gz")):
        return _volume_mask(path, pixel_limit)
    picture = read_picture(path, pixel_limit)
    if isinstance(picture, Fault):
        return picture
    if picture.format in ("JPEG", "MPO"):
        return Fault(
            "mask_format", path, "a mask as PNG, TIFF or NIfTI", "JPEG, whose compression changes pixel values"
        )
    if picture.mode not in NUMBERS and not picture.mode.startswith("I;16"):
        found = "transparency" if picture.mode == "LA" else f"colors ({picture.mode})"
        return Fault("mask_colors", path, "one value for each pixel", found)
    return Mask(np.asarray(picture).astype(np.int32), {}, picture.mode == "P")


def _volume_mask(path: str, pixel_limit: int | None) -> Mask | Fault:
    read = read_volume(path, pixel_limit)
    if isinstance(read, Fault):
        return read
    array, meta = read
    if array.ndim > 3:
        return Fault("mask_channels", path, "a mask of 3 dimensions", f"shape {array.shape}")
    whole = array.round()
    between = abs(whole - array) > ROUNDING
    if between.any():
        found = f"fractions, such as {float(array[between][0]):g}"
        return Fault("unknown_value", path, "whole numbers", found)
    return Mask(whole.astype(np.int32), meta)


def number_classes(values: NDArray[np.int32], numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Return the class indices of pixels, uint8: the position of each value in ``numbers``."""
    order = np.argsort(numbers)
    classes: NDArray[np.uint8] = order[np.searchsorted(np.asarray(numbers)[order], values)].astype(np.uint8)
    return classes


def foreign_values(path: str, found: Sequence[int], numbers: Sequence[int]) -> Fault | None:
    """Report values of a mask that belong to no class."""
    unknown = [value for value in found if value not in numbers]
    if not unknown:
        return None
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return Fault(
        "unknown_value",
        path,
        f"the values {', '.join(map(str, numbers[:SHOWN]))}{', ...' if len(numbers) > SHOWN else ''}",
        f"{', '.join(map(str, unknown[:SHOWN]))}{more}",
    )


def mask_affine(mask: Mask) -> NDArray[np.float64] | None:
    """Return the affine ``(4, 4)`` of a volume's mask, or None for a picture."""
    affine = mask.meta.get(MetaKeys.AFFINE)
    return None if affine is None else np.asarray(affine, dtype=np.float64)
