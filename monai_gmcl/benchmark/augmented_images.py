# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in memory that are augmented at each access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.data.utils import set_rnd
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["AugmentedImages", "AugmentedPairs"]


class AugmentedImages(Dataset[tuple[Any, ...]]):
    """Images ``(N, C, ...)``, augmented one by one by a seed, with what is ``known`` of each (labels, ...) beside them.

    MONAI's ArrayDataset seeds every random transform anew for every image, 0.1 ms each: more than most of them take.
    """

    def __init__(self, images: Tensor, augmentation: Callable[[Any], Any], seed: int, *known: Tensor) -> None:
        self.images = images
        self.augmentation = augmentation
        self.known = known
        set_rnd(augmentation, seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.augmentation(self.images[index]), *(values[index] for values in self.known)


class AugmentedPairs(AugmentedImages):
    """Images with masks ``(N, 1, ...)``, the first of what is known, changed together as ``image`` and ``label``."""

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        masks, *known = self.known
        changed = self.augmentation({"image": self.images[index], "label": masks[index]})
        # A crop by classes gives a list, here of one patch.
        pair = changed[0] if isinstance(changed, list) else changed
        return pair["image"], pair["label"].to(masks.dtype), *(values[index] for values in known)
