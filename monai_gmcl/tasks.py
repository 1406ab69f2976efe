# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError

__all__ = ["IGNORED", "SUPPORTED_TASKS", "Task", "ignore_index_of", "labels_for_loss", "labels_for_teacher"]

logger = logging.getLogger(__name__)

SUPPORTED_TASKS = (
    "GMCLTrainer trains classification: class indices (B,) or (B, 1), one-hot or soft labels (B, K), several labels "
    "(B, K), or one logit (B,) or (B, 1). Dense labels (segmentation) and regression are not supported"
)
IGNORED = -100
"""What torch's losses ignore unless they are told otherwise."""


class Task:
    """What labels mean to a loss function: one class an image, or several labels (or one logit) each for itself.

    Class indices are one class an image. Of labels ``(B, K)`` the loss itself tells: one that does not change when all
    outputs of an image rise by the same amount has a softmax in it (cross-entropy), so that the largest output is the
    student's answer; so have outputs that sum to 1. With any other loss each output is an answer of its own: a
    logit, which says yes above 0, or, where the loss takes .5 to be undecided (``BCELoss``), a probability. The loss is
    asked on made-up outputs from 0 to 1, never on images.

    Args:
        loss_function: the student's.
        outputs: of the student, ``(B, K)`` or ``(B,)``.
        labels: ``(B,)`` or ``(B, K)``.

    Attributes:
        of_classes: whether an image has one class.
        threshold: the output above which a label is taken to be there.
    """

    def __init__(self, loss_function: Callable[..., Tensor], outputs: Tensor, labels: Tensor) -> None:
        self.loss_function = loss_function
        self.ignored = ignore_index_of(loss_function)
        self._warned = False
        one_output = outputs[0].numel() == 1
        self.of_classes = not one_output and (labels[0].numel() == 1 or self._has_softmax(outputs.detach(), labels))
        self.threshold = 0.0
        if not self.of_classes and self._undecided_at_half(outputs, labels):
            self.threshold = 0.5

    def check(self, outputs: Tensor, labels: Tensor) -> None:
        """Raise where labels do not mean what the loss makes of them; say once where they are taken for soft labels.

        Raises:
            LabelError: labels between 0 and 1 with a loss of differences such as ``MSELoss``; integer labels
                ``(B, K)`` that are not one-hot with torch's cross-entropy.
        """
        if not labels.is_floating_point():
            one_hot = labels[0].numel() == 1 or not _is_cross_entropy(self.loss_function) or (labels.sum(1) == 1).all()
            if not one_hot:
                raise LabelError(
                    f"Expected integer labels {tuple(labels.shape)} with cross-entropy to be one-hot, got "
                    f"{labels[labels.sum(1) != 1][0].tolist()}. For several labels an image, BCEWithLogitsLoss."
                )
            return
        if self.of_classes or bool(((labels == 0) | (labels == 1)).all()):
            return
        if self._is_of_differences(outputs, labels):
            raise LabelError(
                f"Labels between 0 and 1, such as {float(labels[(labels > 0) & (labels < 1)][0]):g}, with a loss of "
                f"differences ({_name(self.loss_function)}) are targets of a regression. {SUPPORTED_TASKS}; use "
                "SupervisedTrainer for them."
            )
        if not self._warned:
            self._warned = True
            logger.warning(
                "Labels between 0 and 1 are taken for soft labels, each for itself: an output is right where it is on "
                "the same side as its label is of .5. Targets of a regression are not supported."
            )

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return how right the student is on each image, 0 to 1 ``(n,)``.

        One class: 1 where the largest output is the label's, or that of the largest share of a soft label. Several
        labels, one logit: the share of labels on the right side.
        """
        outputs = outputs.detach()
        if not self.of_classes:
            n = len(outputs)
            found, wanted = outputs.reshape(n, -1) > self.threshold, labels.reshape(n, -1) > 0.5
            return (found == wanted).float().mean(1)
        answers = outputs.argmax(1)
        if labels[0].numel() == 1:
            return (answers == labels.flatten()).float()
        return (labels.gather(1, answers[:, None])[:, 0] == labels.amax(1)).float()

    def classes(self, labels: Tensor) -> Tensor:
        """Return the class of each image ``(n,)`` int64; several labels all count as class 0, ignored ones as -1."""
        if labels[0].numel() > 1:
            return labels.argmax(1) if self.of_classes else torch.zeros_like(labels[:, 0], dtype=torch.int64)
        classes = labels.flatten().float().round().long()
        return torch.where(classes == self.ignored, -1, classes)

    def _has_softmax(self, outputs: Tensor, labels: Tensor) -> bool:
        ones = torch.ones_like(outputs[:, 0])
        if any(torch.allclose(o.sum(1), ones, atol=1e-3) and bool((o >= 0).all()) for o in (outputs, outputs.exp())):
            return True
        probe = torch.linspace(0.1, 0.5, outputs.numel(), device=outputs.device).view_as(outputs).to(outputs.dtype)
        return _same(self._loss(probe, labels), self._loss(probe + 0.4, labels))

    @torch.no_grad()
    def _loss(self, outputs: Tensor, labels: Tensor) -> float:
        loss = self.loss_function
        try:
            if isinstance(loss, nn.Module):
                # Losses may count their calls, or learn.
                loss = copy.deepcopy(loss)
            with torch.random.fork_rng(devices=[outputs.device] if outputs.device.type == "cuda" else []):
                torch.manual_seed(0)
                return float(loss(outputs, labels_for_loss(self.loss_function, labels)).mean())
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError):
            # A loss that refuses made-up outputs or labels is none of the kind that is asked for.
            return float("nan")

    def _undecided_at_half(self, outputs: Tensor, labels: Tensor) -> bool:
        half = torch.full_like(outputs, 0.5)
        return _same(self._loss(half, torch.zeros_like(labels)), self._loss(half, torch.ones_like(labels)))

    def _is_of_differences(self, outputs: Tensor, labels: Tensor) -> bool:
        def at(output: float, label: float) -> float:
            return self._loss(torch.full_like(outputs, output), torch.full_like(labels, label))

        return _same(at(0.4, 0.1), at(0.9, 0.6)) and _same(at(0.1, 0.4), at(0.6, 0.9))


def ignore_index_of(loss_function: Any) -> int:
    """Return the class index that a loss, or one inside it, ignores; torch's -100 if it does not say."""
    parts = loss_function.modules() if isinstance(loss_function, nn.Module) else [loss_function]
    told = [getattr(part, "ignore_index", None) for part in parts]
    return next((index for index in told if isinstance(index, int)), IGNORED)


def labels_for_loss(loss_function: Any, labels: Tensor) -> Tensor:
    """Return class indices as torch's cross-entropy takes them, int64 ``(B,)``; for any other loss as they came."""
    if not _is_cross_entropy(loss_function) or labels.is_floating_point():
        return labels
    return labels.flatten().long() if labels[0].numel() == 1 else labels.float()


def labels_for_teacher(labels: Tensor) -> Tensor:
    """Return labels as teachers take them: int64 classes ``(n,)`` or float ``(n, K)``."""
    if labels[0].numel() == 1:
        return labels.view(len(labels), -1) if labels.is_floating_point() else labels.flatten().long()
    return labels if labels.is_floating_point() else labels.float()


def _is_cross_entropy(loss_function: Any) -> bool:
    return isinstance(loss_function, nn.CrossEntropyLoss | nn.NLLLoss)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-3)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
