# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a mask, alone and beside its image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.file_faults import sides
from monai_gmcl.data.listing import Item
from monai_gmcl.data.mask_files import foreign_values
from monai_gmcl.data_check.looks import Look
from monai_gmcl.data_check.mask_looks import MaskLook

__all__ = ["mask_faults", "pair_faults"]

MOST_UNNAMED = 64
"""Classes that need no names: an image that is taken for a mask has more values."""
MOST_MOVED = 0.5
"""Voxels by which a corner of a mask may lie beside its image's."""


def mask_faults(masks: Mapping[str, MaskLook], numbers: Sequence[int], named: bool = False) -> list[Fault]:
    """Find masks with numbers that stand for no class, with the first class alone, with a palette.

    Also images that are taken for masks, unless the classes are ``named``.
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
    """Find masks of several images, and those that do not lie on their image: of another size or at another place."""
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
    """How many voxels the corner that lies furthest away lies beside its own place."""
    corners = np.stack(np.meshgrid(*[(0, side - 1) for side in shape], indexing="ij"), -1).reshape(-1, 3)
    first, second = (np.reshape(affine, (4, 4)) for affine in (one, other))
    apart = corners @ (first - second)[:3, :3].T + (first - second)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).max() / np.linalg.norm(first[:3, :3], axis=0).min())
