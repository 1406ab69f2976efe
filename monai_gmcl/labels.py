# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of labels for losses, teachers and class counts, without a :class:`monai_gmcl.tasks.Task`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.exceptions import LabelError

__all__ = [
    "IGNORED",
    "are_masks",
    "checked_for_teacher",
    "class_ids",
    "ignore_index_of",
    "is_cross_entropy",
    "is_multi_label",
    "known_label_vectors",
    "label_vectors",
    "labels_for_loss",
    "labels_for_teacher",
]

IGNORED = -100
"""Default ``ignore_index`` of torch's losses."""


def ignore_index_of(loss_function: Any) -> int:
    """Return the class index that a loss, or one inside it, ignores; torch's -100 if it does not say."""
    parts = loss_function.modules() if isinstance(loss_function, nn.Module) else [loss_function]
    told = [getattr(part, "ignore_index", None) for part in parts]
    return next((index for index in told if isinstance(index, int)), IGNORED)


def labels_for_loss(loss_function: Any, labels: Tensor) -> Tensor:
    """Return class indices in the form of torch's cross-entropy, int64 ``(B,)`` or ``(B, *spatial)``.

    For any other loss, labels are not changed.
    """
    if is_cross_entropy(loss_function) and are_masks(labels):
        return labels.squeeze(1).long() if labels.shape[1] == 1 else labels.float()
    if not is_cross_entropy(loss_function) or labels.is_floating_point():
        return labels
    return labels.flatten().long() if labels[0].numel() == 1 else labels.float()


def labels_for_teacher(labels: Tensor) -> Tensor:
    """Return labels in the form of a teacher's input: int64 ``(n,)``, float ``(n, K)``, or unchanged masks."""
    if are_masks(labels):
        return labels
    if labels[0].numel() == 1:
        return labels.view(len(labels), -1) if labels.is_floating_point() else labels.flatten().long()
    return labels if labels.is_floating_point() else labels.float()


def label_vectors(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return labels in the form of a network's input ``(B, num_classes)``: one-hot classes, or multi-label rows.

    LabelError for a wrong shape or type, or a class outside 0 to ``num_classes - 1``.
    """
    if labels.ndim == 1 and not labels.is_floating_point():
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
            raise LabelError(
                f"Expected classes from 0 to {num_classes - 1} (the teacher's num_classes is {num_classes}), "
                f"got {int(labels.min())} to {int(labels.max())}."
            )
        return functional.one_hot(labels.long(), num_classes).to(dtype)
    if labels.ndim == 2 and labels.shape[1] == num_classes and labels.is_floating_point():
        return labels.to(dtype)
    raise LabelError(
        f"Expected int64 labels (B,) or float labels (B, {num_classes}), got {labels.dtype} {tuple(labels.shape)}."
    )


def are_masks(labels: object) -> bool:
    """Whether labels have a value for every pixel, ``(B, K, *spatial)``."""
    return isinstance(labels, Tensor) and labels.ndim > 2


def class_ids(labels: Tensor) -> list[int]:
    """Return the class of each label without a task; masks and multi-label rows belong to class 0."""
    if are_masks(labels) or is_multi_label(labels):
        return [0] * len(labels)
    return [int(value) for value in labels.flatten().float().round().tolist()]


def is_multi_label(labels: Tensor) -> bool:
    """Whether an image has several labels, float ``(n, K)`` with K > 1, instead of a class or a mask."""
    return labels.is_floating_point() and not are_masks(labels) and labels[0].numel() > 1


def known_label_vectors(labels: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return the labels of real images as rows ``(n, columns)`` from 0 to 1, and whether each is known, bool ``(n,)``.

    The row of an image without a class is 0. ``columns`` is the number of the student's outputs; 1 for one logit. The
    host does not wait.
    """
    labels = labels_for_teacher(labels)
    if labels.is_floating_point() or columns == 1:
        rows = labels.view(len(labels), -1)
        return rows if labels.is_floating_point() else rows.float(), torch.ones_like(rows[:, 0], dtype=torch.bool)
    rows = (labels[:, None] == torch.arange(columns, device=labels.device)).float()
    return rows, rows.sum(1) > 0


def is_cross_entropy(loss_function: Any) -> bool:
    """Whether a loss is one of torch's losses with class indices."""
    return isinstance(loss_function, nn.CrossEntropyLoss | nn.NLLLoss)


def checked_for_teacher(labels: Tensor, num_classes: int | None) -> Tensor:
    """Check labels, and return them in the form of a teacher's input: int64 ``(B,)`` or float ``(B, K)``."""
    if labels.is_floating_point():
        fits = labels.ndim == 2 and (num_classes is None or labels.shape[1] in (1, num_classes))
        if not fits or not _within(labels, 0, 1):
            raise LabelError(
                f"Expected class labels as integers, or {num_classes or 'K'} float labels from 0 to 1 for each image, "
                f"got {_describe(labels)}."
            )
        return labels.float()
    flat = labels.ndim == 1 or (labels.ndim == 2 and labels.shape[1] == 1)
    highest = "K - 1" if num_classes is None else f"{num_classes - 1} (the teacher's num_classes - 1)"
    if labels.dtype == torch.bool or not flat or not _within(labels, 0, (num_classes or math.inf) - 1):
        raise LabelError(
            f"Expected one class from 0 to {highest} for each image, or float labels (K,), got {_describe(labels)}."
        )
    return labels.reshape(-1).long()


def _within(labels: Tensor, low: float, high: float) -> bool:
    return bool(((labels >= low) & (labels <= high)).all())


def _describe(labels: Tensor) -> str:
    if labels.numel() == 1:
        return f"{labels.item():g} ({labels.dtype})"
    return f"{labels.dtype} {tuple(labels.shape)} with values from {labels.min().item():g} to {labels.max().item():g}"
