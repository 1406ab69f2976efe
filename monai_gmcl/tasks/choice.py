# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Choice of the task for labels and a loss function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from monai_gmcl.labels import are_masks
from monai_gmcl.tasks.asked_loss import AskedLoss
from monai_gmcl.tasks.base import Task
from monai_gmcl.tasks.segmentation import Segmentation, channel_numbers
from monai_gmcl.tasks.whole_images import Classification, MultiLabel

__all__ = ["choose_task"]


def choose_task(loss_function: Callable[..., Tensor], labels: object, outputs: Tensor | None = None) -> Task:
    """Return the task that suits a loss function and labels.

    Class indices are one class for each image. For labels ``(B, K)`` the loss decides. If the loss does not change when
    all outputs of an image rise by the same amount, it contains a softmax (cross-entropy), and the largest output is
    the predicted class. The same holds if the outputs sum to 1. With any other loss each output is an independent
    prediction: a logit with the threshold 0, or a probability with the threshold .5 if the loss treats .5 as undecided
    (``BCELoss``). The loss is tested on made-up outputs from 0 to 1, never on images. Masks are tested likewise, pixel
    by pixel.

    Args:
        loss_function: the student's.
        labels: the labels of a batch.
        outputs: the student's outputs, ``(B, K)``, ``(B,)`` or ``(B, K, *spatial)``. Without outputs, the task only has
            the checks of labels and outputs that all tasks with labels of this shape have.
    """
    if outputs is None or not isinstance(labels, Tensor):
        return (Segmentation if are_masks(labels) else Classification)(loss_function)
    loss = AskedLoss(loss_function)
    if are_masks(labels):
        return _choose_segmentation(loss, labels, outputs.detach())
    one_output = outputs[0].numel() == 1
    if not one_output and (labels[0].numel() == 1 or loss.has_softmax(outputs.detach(), labels)):
        return Classification(loss_function)
    return MultiLabel(loss_function, 0.5 if loss.is_undecided_at_half(outputs, labels) else 0.0)


def _choose_segmentation(loss: AskedLoss, labels: Tensor, outputs: Tensor) -> Segmentation:
    # Not with the masks of the batch: for empty masks, Dice does not depend on the outputs.
    chosen = torch.randint(outputs.shape[1], (len(outputs), 1, *outputs.shape[2:]), generator=torch.Generator())
    made_up = (chosen.to(outputs.device) == channel_numbers(outputs.shape[1], outputs)).to(outputs.dtype)
    of_classes = outputs.shape[1] > 1 and (labels.shape[1] == 1 or loss.has_softmax(outputs, made_up))
    if of_classes:
        return Segmentation(loss.function)
    return Segmentation(loss.function, overlapping=True, threshold=0.5 if loss.takes_probabilities(outputs) else 0.0)
