# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from monai_gmcl.exceptions import LabelError

__all__ = ["label_vectors"]


def label_vectors(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels as a network takes them: classes one-hot, multi-label rows as they are.

    Args:
        labels: int64 classes ``(B,)``, or float ``(B, num_classes)``.
        num_classes: number of classes, or of labels.
        dtype: of the result.

    Returns:
        Tensor ``(B, num_classes)``.

    Raises:
        LabelError: another shape or type, or a class outside 0 to ``num_classes - 1``.
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
