# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A transform that reads masks as class indices, with the geometry of their image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import MetaKeys
from monai.utils.misc import ImageMetaKey
from torch import Tensor

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import check_pixel_limit
from monai_gmcl.data.mask_files import foreign_values, number_classes, read_mask
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["MOST_CLASSES", "ReadMaskd", "check_mask_values"]

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
