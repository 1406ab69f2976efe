# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The data of a comparison with masks: as for classes, from images with masks in any form that can be opened."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.students import UNET_STEP
from monai_gmcl.data import image_transforms, open_segmentation_data
from monai_gmcl.data.part_lists import part_name
from monai_gmcl.exceptions import ConfigurationError, DataError

__all__ = ["MaskData"]


class MaskData(BenchmarkData):
    """Images float ``(N, C, *spatial)`` and masks uint8 ``(N, 1, *spatial)``, of one size, in memory.

    DataError for images of several sizes, or no validation image that has a class beside the background.
    """

    def __init__(self, options: DataOptions) -> None:
        self.options = options
        # Looked at as a whole when the options were made.
        self.data = open_segmentation_data(options.folder, check=False)
        self.class_names = self.data.class_names
        # One class, of which labeled images are drawn.
        self.items = [{**item, "label": 0, "mask": item["label"]} for item in self.data.training]
        self._splits: dict[str, Images] = {}

    @cached_property
    def _valid(self) -> Images:
        order = np.random.RandomState(3).permutation(len(self.data.validation))
        images, masks = self._read([self.data.validation[i] for i in order])
        if not masks.any():
            raise DataError(
                f"{self.options.name}: no mask of the validation images has a class. Add validation images with "
                "classes."
            )
        return images, masks

    def draw(self, per_class: int, seed: int) -> tuple[Images, Images]:
        """Return so many labeled images, and the images of ``train`` that were not drawn."""
        if per_class > len(self.items):
            raise DataError(
                f"{self.options.name}: expected n of at most {len(self.items)}, the number of training images, got "
                f"{per_class}."
            )
        return super().draw(per_class, seed)

    def split(self, name: str) -> Images:
        if part_name(name) != "test":
            raise DataError(f"Expected splits 'held_out' or 'test' of images with masks, got {name!r}.")
        if name not in self._splits:
            self._splits[name] = self._read(self.data.test)
        return self._splits[name]

    def _read(self, items: Any) -> Images:
        options = self.options
        how = (options.spatial_dims, options.channels, options.crop, options.size, options.intensity_range)
        read = image_transforms(*how, mask_key="label", mask_values=self.data.mask_values)
        paths = [{"image": item["image"], "label": item.get("mask", item["label"])} for item in items]
        pairs = [read(pair) for pair in paths]
        images, masks = ([pair[key].as_subclass(torch.Tensor) for pair in pairs] for key in ("image", "label"))
        sizes = sorted({tuple(image.shape[1:]) for image in images})
        if len(sizes) > 1:
            raise DataError(
                f"{options.name}: expected images of one size, found {sizes[0]} and {sizes[-1]}. Use --size to "
                "resize them, or --crop to cut out their centers."
            )
        for size in sizes:
            _check_size(size, options.patch)
        return torch.stack(images), torch.stack(masks)


def _check_size(size: tuple[int, ...], patch: int | None) -> None:
    window = size if patch is None else (patch,)
    if any(side % UNET_STEP for side in window) or (patch or 0) > min(size):
        raise ConfigurationError(
            f"compare: the student takes sides that are multiples of {UNET_STEP}, got images of {size} and patch "
            f"{patch}. Use --patch with a multiple of {UNET_STEP} of at most {min(size)}."
        )
