# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks as files: a whole number for each pixel, which image formats can spoil in ways that are told apart here."""

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
"""Values that a message names."""


class Mask(NamedTuple):
    """A mask as its file has it.

    Attributes:
        values: whole numbers, int32 ``(H, W)`` or ``(D, H, W)``; axes of volumes go right, front, up (RAS).
        meta: of a volume, MONAI's, with the affine; of a picture empty.
        palette: whether the numbers are those of a palette's colors.
    """

    values: NDArray[np.int32]
    meta: dict[str, Any]
    palette: bool = False


def read_mask(path: str, pixel_limit: int | None = None) -> Mask | Fault:
    """Read a PNG, TIFF or NIfTI mask, or say what is wrong with it.

    Numbers come as the file has them: 0 and 1 of one bit, the numbers of a palette's colors, grey of 8 and 16 bits,
    volumes scaled by the file's slope. JPEG, colors, transparency and fractions are refused.

    Args:
        path: of the file.
        pixel_limit: most pixels, or voxels. Default: as for images.
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
    """Return the classes of pixels, uint8 from 0: the places that their numbers have among ``numbers``.

    Args:
        values: of a mask, all of them among the numbers.
        numbers: distinct, in the order of the classes.
    """
    order = np.argsort(numbers)
    classes: NDArray[np.uint8] = order[np.searchsorted(np.asarray(numbers)[order], values)].astype(np.uint8)
    return classes


def foreign_values(path: str, found: Sequence[int], numbers: Sequence[int]) -> Fault | None:
    """Tell of values of a mask that stand for no class."""
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
    """Return the affine ``(4, 4)`` of a volume's mask, or None of a picture's."""
    affine = mask.meta.get(MetaKeys.AFFINE)
    return None if affine is None else np.asarray(affine, dtype=np.float64)
