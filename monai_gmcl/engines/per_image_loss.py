# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["per_image_loss"]

LossFunction = Callable[[Any, Any], Tensor]


def per_image_loss(loss_function: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each image, such that their mean is ``loss_function(outputs, labels).mean()``.

    A loss with a ``reduction`` (torch's, MONAI's) is called once without it, and cross-entropy with class weights is
    normalized as torch does it, by the batch's sum of weights. Another callable, and a loss that gives no row for each
    image without its reduction, is called image by image; it must be a mean over images.

    Args:
        loss_function: the user's.
        outputs: ``(B, K)`` of the student.
        labels: ``(B, ...)``.

    Returns:
        ``(B,)``.
    """
    reduction = getattr(loss_function, "reduction", None)
    if reduction not in ("mean", "none", "sum"):
        return _image_by_image(loss_function, outputs, labels)
    # A deep copy would copy the class weights at every call.
    single = copy.copy(loss_function)
    single.reduction = "none"  # type: ignore[attr-defined]
    losses = single(outputs, labels)
    if losses.ndim == 0 or len(losses) != len(outputs):
        return _image_by_image(loss_function, outputs, labels)
    if reduction == "sum":
        return losses.flatten(1).sum(1) * len(losses) if losses.ndim > 1 else losses * len(losses)
    scale = _class_weight_scale(loss_function, losses, labels) if reduction == "mean" else 1.0
    return losses.flatten(1).mean(1) * scale if losses.ndim > 1 else losses * scale


def _image_by_image(loss_function: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([loss_function(outputs[i : i + 1], labels[i : i + 1]).mean() for i in range(len(outputs))])


def _class_weight_scale(loss_function: LossFunction, losses: Tensor, labels: Tensor) -> Tensor | float:
    """Return B over the sum of the labels' class weights, which torch's mean of cross-entropy divides by."""
    if not isinstance(loss_function, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss) or labels.is_floating_point():
        return 1.0
    kept = labels != loss_function.ignore_index
    weight = loss_function.weight
    counts = kept.to(losses.dtype) if weight is None else weight[labels.where(kept, 0)] * kept
    if weight is None and bool(kept.all()):
        return 1.0
    scale: Tensor = labels.numel() / counts.sum()
    return scale
