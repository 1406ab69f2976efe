# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.engines.per_image_loss import per_image_loss
from monai_gmcl.tasks import Task, ignore_index_of, labels_for_loss

__all__ = ["StudentLoss"]

logger = logging.getLogger(__name__)


class StudentLoss:
    """The student's loss: of a batch of real images, of each image of a lesson, and what it takes labels to mean.

    Args:
        function: the user's, ``(outputs, labels) -> loss``; another one may be set at any time.

    Attributes:
        ignored: the class index that it ignores: an image with this label has none.
    """

    def __init__(self, function: Callable[[Any, Any], Tensor]) -> None:
        self.function = function

    @property
    def function(self) -> Callable[[Any, Any], Tensor]:
        """The user's loss function."""
        return self._function

    @function.setter
    def function(self, function: Callable[[Any, Any], Tensor]) -> None:
        self._function = function
        self.ignored = ignore_index_of(function)
        self._task: Task | None = None
        self._compared = _is_stock(function)
        # A lesson's graph outlives the optimizer's step, which changes the loss's own parameters in place.
        self._learns = isinstance(function, nn.Module) and any(p.requires_grad for p in function.parameters())

    def task(self, outputs: Tensor, labels: Tensor) -> Task:
        """Return what labels mean: found out on the first batch.

        Raises:
            LabelError: labels that do not mean what the loss makes of them, see ``Task.check``.
        """
        if self._task is None:
            self._task = Task(self.function, outputs, labels)
        self._task.check(outputs, labels)
        return self._task

    def of_batch(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the mean loss."""
        return self.function(outputs, labels_for_loss(self.function, labels)).mean()

    def of_each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image ``(n,)``; where the loss itself learns, it does so from real images alone."""
        function = self.function
        if self._learns:
            assert isinstance(function, nn.Module)
            function = copy.deepcopy(function).requires_grad_(False)
        return per_image_loss(function, outputs, labels_for_loss(function, labels))

    @torch.no_grad()
    def compare(self, losses: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Say once where the mean over single images is not the loss of them all together, as of weighted losses.

        Looked at on the first lesson of more than one class: of one class all weights are the same.
        """
        if self._compared or len(torch.unique(labels, dim=0)) < 2:
            return
        self._compared = True
        alone, together = float(losses.mean()), float(self.of_batch(outputs.detach(), labels))
        if abs(alone - together) <= max(1e-3, 8 * torch.finfo(outputs.dtype).eps) * max(abs(together), 1e-3):
            return
        name = type(self.function).__name__
        logger.warning(
            "The mean of %s over the single images of a lesson is %.4g, over all of them together %.4g: lessons weigh "
            "images otherwise than real batches do, because weights cancel where an image stands alone. Give "
            "GMCLTrainer a loss of torch or MONAI itself, such as CrossEntropyLoss(weight=...), or give yours an "
            "attribute reduction: with reduction='none' it returns the loss of each image (B,), normalized such that "
            "their mean is the loss of the batch.",
            name,
            alone,
            together,
        )


def _is_stock(function: Any) -> bool:
    """Whether it is a loss of torch itself that takes each image for itself: there is nothing to compare."""
    return type(function).__module__ == "torch.nn.modules.loss"
