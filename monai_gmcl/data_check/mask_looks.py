# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading a mask for the check, and the values of its classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.file_faults import sides
from monai_gmcl.data.listing import Item
from monai_gmcl.data.mask_files import foreign_values, mask_affine, read_mask
from monai_gmcl.data_check.looks import Look

__all__ = ["MaskLook", "class_numbers", "look_at_mask", "mask_faults", "pair_faults"]

WHITE = (255, 65535)
"""Values of masks with one class in many programs: white on black, in 8 or 16 bits."""
MOST_UNNAMED = 64
"""Largest number of values of a mask without class names: a photograph or scan has more."""
MOST_MOVED = 0.5
"""Largest distance of the corners of an image and its mask, in voxels."""


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
    """Return the values of the classes in their order: 0, 1, 2, ..., or 0 and 255 (65535 in 16 bits).

    Values are those in the training masks. Without class names, the classes are the consecutive values from 0.
    """
    values = set(found)
    for white in WHITE if class_names is None or len(class_names) == 2 else ():
        if white in values <= {0, white}:
            return [0, white]
    if class_names is not None:
        return list(range(len(class_names)))
    return list(range(next(number for number in range(len(values) + 1) if number not in values)))


def mask_faults(masks: Mapping[str, MaskLook], numbers: Sequence[int], named: bool = False) -> list[Fault]:
    """Find masks with unknown values, with the first class only or with a palette, and masks that may be images.

    The latter only if the classes have no names (``named``).
    """
    faults = []
    for path, mask in masks.items():
        unknown = foreign_values(path, mask.values, numbers)
        if unknown is not None:
            faults.append(unknown)
        if not named and len(mask.values) > MOST_UNNAMED:
            wanted = f"at most {MOST_UNNAMED} values, one for each class,"
            faults.append(Fault("many_values", path, wanted, f"{len(mask.values)} values"))
        if mask.values == (numbers[0],):
            faults.append(Fault("empty_mask", path, "pixels of a class", f"only the background value {numbers[0]}"))
        if mask.palette:
            faults.append(Fault("palette", path, "class values without a palette", "a palette"))
    return faults


def pair_faults(items: Iterable[Item], looks: Mapping[str, Look], masks: Mapping[str, MaskLook]) -> list[Fault]:
    """Find masks of several images, and masks with another size or another position than their image."""
    faults = []
    of_mask: dict[str, str] = {}
    for item in items:
        other = of_mask.setdefault(item["label"], item["image"])
        if other != item["image"]:
            faults.append(
                Fault("mask_twice", item["label"], "one image for each mask", f"{other!r}, {item['image']!r}")
            )
        image, mask = looks.get(item["image"]), masks.get(item["label"])
        if image is None or mask is None:
            continue
        if image.shape[1:] != mask.shape:
            wanted = f"{sides(image.shape[1:])}, as {item['image']!r},"
            faults.append(Fault("mask_size", item["label"], wanted, sides(mask.shape)))
        elif image.affine and mask.affine:
            moved = _moved(image.affine, mask.affine, mask.shape)
            if moved > MOST_MOVED:
                wanted = f"the affine of {item['image']!r}"
                faults.append(Fault("mask_geometry", item["label"], wanted, f"an affine {moved:,.1f} voxels away"))
    return faults


def _moved(one: Sequence[float], other: Sequence[float], shape: Sequence[int]) -> float:
    """Return the largest distance of corresponding corners, in voxels."""
    corners = np.stack(np.meshgrid(*[(0, side - 1) for side in shape], indexing="ij"), -1).reshape(-1, 3)
    first, second = (np.reshape(affine, (4, 4)) for affine in (one, other))
    apart = corners @ (first - second)[:3, :3].T + (first - second)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).max() / np.linalg.norm(first[:3, :3], axis=0).min())
