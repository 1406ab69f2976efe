# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What one look at a mask finds, and which of its numbers stand for classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.mask_files import mask_affine, read_mask

__all__ = ["MaskLook", "class_numbers", "look_at_mask"]

WHITE = (255, 65535)
"""How many programs write masks of one class: white, in 8 or 16 bits, on black."""


@dataclass(frozen=True)
class MaskLook:
    """What one look at a mask found.

    Attributes:
        shape: height and width, or the three sides of a volume.
        values: the numbers in it, sorted.
        digest: equal for equal masks.
        affine: of a volume that is turned to RAS, row by row; of a picture empty.
        palette: whether the numbers are those of a palette's colors.
    """

    shape: tuple[int, ...]
    values: tuple[int, ...]
    digest: bytes
    affine: tuple[float, ...]
    palette: bool


def look_at_mask(path: str, pixel_limit: int | None = None) -> MaskLook | Fault:
    """Read a mask whole, as training will, and keep what the check needs of it."""
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
    """Return the numbers that stand for classes, in their order: 0, 1, 2, ..., or 0 and 255 (65535 in 16 bits).

    Found are those in the masks of the training part. Without names, there are as many classes as numbers follow each
    other from 0.
    """
    values = set(found)
    for white in WHITE if class_names is None or len(class_names) == 2 else ():
        if white in values <= {0, white}:
            return [0, white]
    if class_names is not None:
        return list(range(len(class_names)))
    return list(range(next(number for number in range(len(values) + 1) if number not in values)))
