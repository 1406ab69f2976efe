# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Real images that a teacher changes, indexed by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.traits import RandomizableTrait
from torch import Tensor
from torch.utils.data import TensorDataset

from monai_gmcl.exceptions import ConfigurationError, DataError, LabelError

__all__ = ["Label", "LabeledSources", "read_label"]

Label = int | tuple[float, ...]
"""A class, or a row of labels of a multi-label task."""


class LabeledSources:
    """A data set of labeled images, sorted by label.

    Attributes:
        by_label: indices of the images of each label; all images with masks have the label 0.
        of_masks: whether labels are masks ``(K, *spatial)``.
        tensor_labels: whether the labels of the data set are tensors.

    Args:
        data: a map-style data set, or sequence, of dicts or of pairs (image, label), or a pair of tensors
            ``(N, C, ...)`` and ``(N,)``, ``(N, K)`` or ``(N, K, *spatial)``. Without random transforms.
        image_key: key of the image in the dicts.
        label_key: key of the label in the dicts.

    Raises:
        ConfigurationError: the data set has random transforms.
        DataError: the data set is empty, or has items of another kind.
        LabelError: labels are not of one kind (classes, rows of labels, or masks).
    """

    def __init__(self, data: Any, image_key: str = "image", label_key: str = "label") -> None:
        pair = isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)
        self.data: Any = TensorDataset(*data) if pair else data
        self.image_key, self.label_key = image_key, label_key
        if len(self.data) == 0:
            raise DataError("Expected at least one source, found none.")
        _check_fixed(self.data)
        first = self._parts(self.data[0])[1]
        self.tensor_labels = isinstance(first, Tensor)
        self.of_masks = _is_mask(first)
        self.by_label: dict[Label, list[int]] = {}
        if self.of_masks:
            self.by_label[0] = list(range(len(self.data)))
            return
        # reading only the labels of a list is cheap, but a transform may change labels
        listed = getattr(self.data, "data", None)
        if not (isinstance(listed, Sequence) and len(listed) == len(self.data) and self._same(listed[0], first)):
            listed = self.data
        for position in range(len(listed)):
            label = read_label(self._parts(listed[position])[1])
            self.by_label.setdefault(label, []).append(position)
        if len({type(label) for label in self.by_label}) > 1:
            raise LabelError("Expected sources with classes or sources with rows of labels, found both.")

    def read(self, position: int, label: Label) -> tuple[Tensor, Tensor | None]:
        """Return an image, and its mask if labels are masks.

        Raises:
            LabelError: the label has changed since the first reading, or the mask differs from the image in size.
        """
        image, found = self._parts(self.data[position])
        original = torch.as_tensor(image)
        if self.of_masks and _is_mask(found):
            mask = torch.as_tensor(found)
            if mask.shape[1:] != original.shape[1:]:
                raise LabelError(
                    f"Expected a mask of the size of {self.name(position, original)}, {tuple(original.shape[1:])}, got "
                    f"{tuple(mask.shape)}."
                )
            return original, mask
        if self.of_masks or read_label(found) != label:
            had = "a mask" if self.of_masks else f"the label {label}"
            raise LabelError(f"{self.name(position, original)} had {had} and has {found} now. Sources must not change.")
        return original, None

    def name(self, position: int, image: Tensor) -> str:
        """Return the name of an image for messages."""
        file = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
        return f"source {position}" + (f" ({file})" if file else "")

    def _parts(self, item: Any) -> tuple[Any, Any]:
        """Return image and label of an item."""
        if isinstance(item, Mapping):
            for key in (self.image_key, self.label_key):
                if key not in item:
                    raise DataError(f"Expected sources with the key {key!r}, found {', '.join(map(str, item))}.")
            return item[self.image_key], item[self.label_key]
        if isinstance(item, Sequence) and not isinstance(item, str) and len(item) >= 2:
            return item[0], item[1]
        raise DataError(f"Expected sources that are dicts or pairs (image, label), found {type(item).__name__}.")

    def _same(self, item: Any, label: Any) -> bool:
        try:
            return isinstance(item, Mapping) and read_label(item.get(self.label_key)) == read_label(label)
        except LabelError:
            return False


def _is_mask(label: Any) -> bool:
    """Whether a label has a value for every pixel: ``(K, *spatial)``."""
    return getattr(label, "ndim", 0) > 2


def read_label(label: Any) -> Label:
    """Return a label as an int, or a row of labels as finite floats; raise LabelError otherwise."""
    try:
        values = np.asarray(label.cpu() if isinstance(label, Tensor) else label)
        if values.ndim == 0 and np.issubdtype(values.dtype, np.integer):
            return int(values)
        if values.ndim == 1 and values.size and np.isfinite(row := values.astype(float)).all():
            return tuple(map(float, row))
    except (TypeError, ValueError):
        pass
    found = f"shape {tuple(label.shape)}" if getattr(label, "ndim", 0) > 1 else repr(label)
    raise LabelError(
        "Expected a class (a whole number), several labels (a row of finite numbers) or a mask (K, *spatial), found "
        f"{found}."
    )


def _check_fixed(data: Any) -> None:
    """Raise if the data set has random transforms."""
    for inner in (getattr(data, "dataset", None), *(getattr(data, "datasets", None) or ())):
        if inner is not None:
            _check_fixed(inner)
    transform = getattr(data, "transform", None)
    for step in getattr(transform, "transforms", (transform,)):
        if isinstance(step, RandomizableTrait):
            raise ConfigurationError(
                f"Sources with the random transform {type(step).__name__} change in each call. Use a data set without "
                "this transform."
            )
