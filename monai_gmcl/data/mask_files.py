# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of masks with one integer for each pixel, their faults, and the transform that reads them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import MetaKeys
from monai.utils.misc import ImageMetaKey
from numpy.typing import NDArray
from torch import Tensor

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import check_pixel_limit, read_picture, read_volume
from monai_gmcl.exceptions import ConfigurationError

__all__ = [
    "MOST_CLASSES",
    "Mask",
    "ReadMaskd",
    "check_mask_values",
    "foreign_values",
    "mask_affine",
    "number_classes",
    "read_mask",
]

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


MOST_CLASSES = 256


class ReadMaskd(MapTransform):
    """Read a mask as class indices, uint8 ``(1, H, W)``, or ``(1, D, H, W)`` for a NIfTI volume, reoriented to RAS.

    Args:
        keys: keys of the paths.
        mask_values: the file values of the classes, in the order of the classes.
        pixel_limit: largest number of pixels or voxels. Default: as for :class:`~monai_gmcl.data.ReadImaged`.

    Raises:
        ConfigurationError: the values are not distinct integers, or more than 256.
        DataError: when called, a mask cannot be read or has another value; the message names the file.
    """

    def __init__(self, keys: KeysCollection, mask_values: Sequence[int], pixel_limit: int | None = None) -> None:
        super().__init__(keys)
        check_pixel_limit(pixel_limit)
        self.mask_values = check_mask_values(mask_values)
        self.pixel_limit = pixel_limit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        read = dict(data)
        for key in self.key_iterator(read):
            read[key] = self._classes(read[key])
        return read

    def _classes(self, path: Any) -> Tensor:
        mask = read_mask(str(path), self.pixel_limit)
        if isinstance(mask, Fault):
            raise mask.error()
        unknown = foreign_values(str(path), np.unique(mask.values).tolist(), self.mask_values)
        if unknown is not None:
            raise unknown.error()
        classes = torch.from_numpy(number_classes(mask.values, self.mask_values)[None])
        shape: dict[str, Any] = {} if mask.meta else {MetaKeys.SPATIAL_SHAPE: np.asarray(mask.values.shape)}
        meta = {**mask.meta, **shape, MetaKeys.ORIGINAL_CHANNEL_DIM: 0, ImageMetaKey.FILENAME_OR_OBJ: str(path)}
        described: Tensor = MetaTensor.ensure_torch_and_prune_meta(classes, meta)
        return described


def check_mask_values(mask_values: Sequence[int]) -> list[int]:
    """Return the classes' file values as a list; ConfigurationError unless they are 2 to 256 distinct integers."""
    values = list(mask_values) if isinstance(mask_values, list | tuple) else []
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if not whole or len(set(values)) < len(values) or not 2 <= len(values) <= MOST_CLASSES:
        raise ConfigurationError(
            f"mask_values must be 2 to {MOST_CLASSES} distinct whole numbers, in the order of the classes, got "
            f"{mask_values!r}."
        )
    return values
