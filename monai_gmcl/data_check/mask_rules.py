# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of masks, alone and compared with their images."""

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

MOST_MOVED = 0.5
"""Accepted distance of corresponding corners of a mask and its image, in voxels."""


def mask_faults(masks: Mapping[str, MaskLook], numbers: Sequence[int]) -> list[Fault]:
    """Find masks with values that belong to no class, masks with the first class only, and masks with a palette."""
    faults = []
    for path, mask in masks.items():
        unknown = foreign_values(path, mask.values, numbers)
        if unknown is not None:
            faults.append(unknown)
        if mask.values == (numbers[0],):
            faults.append(Fault("empty_mask", path, "pixels of a class", f"only the background value {numbers[0]}"))
        if mask.palette:
            faults.append(Fault("palette", path, "class values without a palette", "a palette"))
    return faults


def pair_faults(items: Iterable[Item], looks: Mapping[str, Look], masks: Mapping[str, MaskLook]) -> list[Fault]:
    """Find masks that differ from their images in size or position."""
    faults = []
    for item in items:
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
