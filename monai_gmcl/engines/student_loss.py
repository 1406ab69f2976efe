# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.tasks import Task, choose_task

__all__ = ["StudentLoss"]

logger = logging.getLogger(__name__)


class StudentLoss:
    """The student's loss: of a batch of real images, of each image of a lesson, and what it takes labels to mean.

    Args:
        function: the user's, ``(outputs, labels) -> loss``; another one may be set at any time.
        task: the user's; None: chosen by the first batch.

    Attributes:
        known: what labels mean; None before the first batch.
    """

    def __init__(self, function: Callable[[Any, Any], Tensor], task: Task | None = None) -> None:
        self._given = task
        self.function = function

    @property
    def function(self) -> Callable[[Any, Any], Tensor]:
        """The user's loss function."""
        return self._function

    @function.setter
    def function(self, function: Callable[[Any, Any], Tensor]) -> None:
        self._function = function
        self._compared = _is_stock(function)
        if self._given is None:
            self.known: Task | None = None
        else:
            self.known = self._given
            self._given.follow(function)

    def task(self, labels: object, outputs: Tensor | None = None) -> Task:
        """Return what labels mean: the task that was given, or is chosen by the first batch with outputs.

        Args:
            labels: of a batch.
            outputs: of the student; without them, before the first batch, the task is good for checks alone.
        """
        if self.known is not None:
            return self.known
        task = choose_task(self.function, labels, outputs)
        if outputs is not None:
            self.known = task
        return task

    def of_batch(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the mean loss."""
        return self.task(labels, outputs).loss(outputs, labels)

    def of_each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image ``(n,)``."""
        return self.task(labels, outputs).losses(outputs, labels)

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
