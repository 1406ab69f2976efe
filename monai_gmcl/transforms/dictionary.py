# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A trained teacher as a random dictionary transform."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils.enums import PostFix
from torch import nn

from monai_gmcl.exceptions import LabelError
from monai_gmcl.labels import are_masks
from monai_gmcl.transforms.array import RandTeacherAugment
from monai_gmcl.transforms.frozen_teacher import label_rows

__all__ = ["RandTeacherAugmentD", "RandTeacherAugmentDict", "RandTeacherAugmentd"]


class RandTeacherAugmentd(RandomizableTransform, MapTransform):
    """Dictionary-based version of :class:`RandTeacherAugment`.

    Images of several keys get the same latents. A mask is moved with the image if its key is among ``keys``:
    ``RandTeacherAugmentd(["image", "label"], teacher)``. Separate meta dictionaries of these keys (``image_meta_dict``,
    which some readers make) are removed, since they contain file names. Other entries are not changed.

    Args:
        keys: keys of the images and, if the label is a mask ``(K, *spatial)``, of the label.
        teacher: a teacher, which is copied, or the path of a teacher file.
        prob: probability of synthetic images.
        difficulty: strength of the change, or a range ``(low, high)`` from which it is drawn uniformly.
        label_key: key of the label; None if the teacher does not use labels. A label of the whole image is not changed.
        allow_missing_keys: do not raise if a key is missing.

    Raises:
        LabelError: in use, no label under ``label_key``, a mask there whose key is not among ``keys``, or a label of
            the whole image whose key is among them; and all errors of :class:`RandTeacherAugment`.
    """

    backend = RandTeacherAugment.backend

    def __init__(
        self,
        keys: KeysCollection,
        teacher: nn.Module | str | os.PathLike[str],
        prob: float = 0.1,
        difficulty: float | tuple[float, float] = 1.0,
        label_key: Hashable | None = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.rand_teacher_augment = RandTeacherAugment(teacher, prob, difficulty)
        self.label_key = label_key

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandTeacherAugmentd:
        """Seed the transform; see :class:`monai.transforms.Randomizable`."""
        super().set_random_state(seed, state)
        # One random stream for both: with two streams of one seed, the strength of an image would depend on whether the
        # next # image is changed.
        self.rand_teacher_augment.set_random_state(state=self.R)
        return self

    def randomize(self, data: Any = None) -> None:
        """Draw whether the next images are changed, the seed of their latents and the difficulty."""
        self.rand_teacher_augment.randomize()
        self._do_transform = self.rand_teacher_augment._do_transform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply the transform to the images of one item."""
        d = dict(data)
        self.randomize()
        label = self._label(d)
        moves = self._check_mask(label)
        for key in self.key_iterator(d):
            if not (moves and key == self.label_key):
                changed = self.rand_teacher_augment(d[key], label, randomize=False)
                if isinstance(changed, tuple):
                    changed, d[self.label_key] = changed
                d[key] = changed
            d.pop(PostFix.meta(key), None)
        return d

    def _check_mask(self, label: Any) -> bool:
        """Return whether the label is a mask, and check the keys."""
        is_mask, given = label is not None and are_masks(label_rows(label)), self.label_key in self.keys
        if is_mask and not given:
            raise LabelError(
                f"The label under {self.label_key!r} is a mask, which must be transformed with its image. Use "
                f"keys={[*self.keys, self.label_key]}."
            )
        if given and label is not None and not is_mask:
            raise LabelError(f"Expected a mask (K, *spatial) under {self.label_key!r}, one of the keys, got {label!r}.")
        return is_mask

    def _label(self, d: Mapping[Hashable, Any]) -> Any:
        if self.label_key is None:
            return None
        if self.label_key not in d and not self.allow_missing_keys:
            raise LabelError(
                f"Expected a label under {self.label_key!r}, got an item with the keys {', '.join(map(repr, d))}. "
                "Give label_key, or label_key=None if the teacher does not use labels."
            )
        return d.get(self.label_key)


RandTeacherAugmentD = RandTeacherAugmentDict = RandTeacherAugmentd
