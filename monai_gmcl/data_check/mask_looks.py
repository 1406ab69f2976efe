# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading a mask for the check, and the values of its classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.mask_files import mask_affine, read_mask

__all__ = ["MaskLook", "class_numbers", "look_at_mask"]

WHITE = [0, 255]
"""Values of masks with one class in many programs: black and white."""


@dataclass(frozen=True)
class MaskLook:
    """The properties of a mask that the check needs.

    Attributes:
        shape: height and width, or the three sides of a volume.
        values: sorted values of the mask.
        digest: digest that is equal for equal masks.
        affine: rows of the affine of a volume in RAS orientation; empty for a picture.
        palette: whether the values are palette indices.
    """

    shape: tuple[int, ...]
    values: tuple[int, ...]
    digest: bytes
    affine: tuple[float, ...]
    palette: bool


def look_at_mask(path: str, pixel_limit: int | None = None) -> MaskLook | Fault:
    """Read a complete mask as in training, and return the properties that the check needs."""
    mask = read_mask(path, pixel_limit)
    if isinstance(mask, Fault):
        return mask
    values: Any = mask.values
    affine = mask_affine(mask)
    return MaskLook(
        tuple(values.shape),
        tuple(map(int, np.unique(values))),
        hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=16).digest(),
        () if affine is None else tuple(map(float, affine.ravel())),
        mask.palette,
    )


def class_numbers(found: Iterable[int], class_names: Sequence[str] | None = None) -> list[int]:
    """Return the values of the classes in their order: 0, 1, 2, ..., or 0 and 255.

    Values are those in the training masks. Without class names, the classes are the consecutive values from 0.
    """
    values = set(found)
    if values <= set(WHITE) and 255 in values and (class_names is None or len(class_names) == 2):
        return WHITE
    if class_names is not None:
        return list(range(len(class_names)))
    return list(range(next(number for number in range(len(values) + 1) if number not in values)))
