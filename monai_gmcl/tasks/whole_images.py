# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels of whole images: one class, or several labels."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError, StudentOutputError
from monai_gmcl.labels import is_cross_entropy
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.tasks.asked_loss import refuse_regression
from monai_gmcl.tasks.base import SUPPORTED_TASKS, Task

__all__ = ["Classification", "MultiLabel", "likelier_values"]

logger = logging.getLogger(__name__)


class _OfWholeImages(Task):
    """Base class of classification and multi-label tasks: labels ``(B,)``, ``(B, 1)`` or ``(B, K)``."""

    def check_labels(self, labels: object, num_classes: int | None, read: Read = at_once) -> None:
        if not isinstance(labels, Tensor):
            raise LabelError(
                "GMCLTrainer needs labeled batches: prepare_batch returned images without labels. MONAI's default "
                "leaves out labels that are not a tensor. Use class indices instead of names; EnsureTyped('label') in "
                "the transforms converts a list of labels."
            )
        if labels.ndim not in (1, 2) or labels.numel() == 0:
            raise LabelError(f"Expected labels of whole images, got shape {tuple(labels.shape)}. {SUPPORTED_TASKS}.")
        of_values = partial(_refuse_values, labels.dtype, labels.shape)
        refuse = partial(_refuse_indices, num_classes) if self._are_indices(labels) else of_values
        self._read_extremes(labels, read, refuse)

    def check_outputs(self, outputs: object, labels: Tensor, num_classes: int | None) -> None:
        if not isinstance(outputs, Tensor):
            raise StudentOutputError(
                f"Expected the student's output to be one tensor of logits, got {type(outputs).__name__}. Use an "
                "inferer that returns one of several outputs."
            )
        n, kind = len(labels), "float" if labels.is_floating_point() else "integer"
        wrong = f", one logit for each class, got {tuple(outputs.shape)}."
        if outputs.ndim not in (1, 2) or len(outputs) != n:
            classes = "K" if num_classes is None else num_classes
            raise StudentOutputError(f"Expected the student's output to be ({n}, {classes}){wrong}")
        given, wanted = outputs[0].numel(), labels[0].numel()
        if wanted > 1 or given == 1:
            if given != wanted:
                raise StudentOutputError(
                    f"Expected the student's output to be shaped as its {kind} labels {tuple(labels.shape)}, "
                    f"got {tuple(outputs.shape)}."
                )
            if given == 1 and labels.max() > 1:
                raise LabelError(
                    f"Expected labels 0 and 1 with one logit, got {labels.max().item()}. {SUPPORTED_TASKS}."
                )
            return
        if labels.is_floating_point():
            raise LabelError(
                f"Expected class labels as integers, or float labels (B, K) from 0 to 1 for {given} outputs, got shape "
                f"{tuple(labels.shape)} {labels.dtype}. {SUPPORTED_TASKS}."
            )
        if given != (num_classes or given):
            raise StudentOutputError(f"Expected the student's output to be ({n}, {num_classes}){wrong}")
        known = labels[labels.long() != self.ignored]
        if len(known) and known.max() >= given:
            raise LabelError(
                f"Expected class labels from 0 to {given - 1} (the student has {given} logits), got "
                f"{known.max().item()}."
            )

    def check(self, outputs: Tensor, labels: Tensor, read: Read = at_once) -> None:
        """Raise for integer labels ``(B, K)`` that are not one-hot with torch's cross-entropy."""
        if not (labels.is_floating_point() or labels[0].numel() == 1) and is_cross_entropy(self.loss_function):
            read(labels, _refuse_several)

    @abstractmethod
    def classes(self, labels: Tensor) -> Tensor:
        """Return the class of each image, int64 ``(n,)``; -1 for an image without a class."""

    def answers(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the class of each image, and its correctness twice."""
        correct = self.correctness(outputs, labels)
        return self.classes(labels)[:, None], correct[:, None], correct

    def classes_of(self, labels: Tensor, output_shape: Sequence[int]) -> Tensor:
        """Return the class of each image ``(n, 1)``."""
        return self.classes(labels)[:, None]

    def _index(self, labels: Tensor) -> Tensor:
        classes = labels.flatten().float().round().long()
        return torch.where(classes == self.ignored, -1, classes)


def _refuse_values(dtype: torch.dtype, shape: Sequence[int], least: float, most: float) -> None:
    if not (least >= 0 and most <= 1):
        raise LabelError(
            f"Expected labels (B,) or (B, K) of {dtype} from 0 to 1, got shape {tuple(shape)} with values from "
            f"{least:g} to {most:g}. {SUPPORTED_TASKS}."
        )


def _refuse_indices(num_classes: int | None, least: float, most: float) -> None:
    # One logit has two classes; the teacher's num_classes may be 1.
    if least < 0 or (num_classes is not None and most >= max(num_classes, 2)):
        upper = "the number of classes" if num_classes is None else f"{num_classes - 1} (the teacher's num_classes - 1)"
        raise LabelError(f"Expected class labels from 0 to {upper}, got {least} to {most}.")


def _refuse_several(labels: Tensor) -> None:
    if not (labels.sum(1) == 1).all():
        raise LabelError(
            f"Expected integer labels {tuple(labels.shape)} with cross-entropy to be one-hot, got "
            f"{labels[labels.sum(1) != 1][0].tolist()}. For several labels of an image, use BCEWithLogitsLoss."
        )


class Classification(_OfWholeImages):
    """One class for each image: class indices ``(B,)`` or ``(B, 1)``, one-hot or soft labels ``(B, K)``.

    The predicted class is that of the largest output.
    """

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 if the largest output belongs to the label, or to the largest value of a soft label."""
        answers = outputs.detach().argmax(1)
        if labels[0].numel() == 1:
            return (answers == labels.flatten()).float()
        return (labels.gather(1, answers[:, None])[:, 0] == labels.amax(1)).float()

    def classes(self, labels: Tensor) -> Tensor:
        """Return the class of each image."""
        return labels.argmax(1) if labels[0].numel() > 1 else self._index(labels)

    def chance(self, labels: Tensor) -> Tensor:
        """Return the sum of the squared class frequencies."""
        classes = self.classes(labels)
        known = classes >= 0
        alike = (classes == classes[:, None]) & known & known[:, None]
        return alike.sum().double() / known.sum().double().square().clamp_min(1)

    @staticmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most probable class int64 ``(n,)``, and its probability."""
        confidences, classes = outputs.softmax(1).max(1)
        return classes, confidences


class MultiLabel(_OfWholeImages):
    """Several independent labels for each image, or one logit: ``(B, K)``, ``(B, 1)`` or ``(B,)``, values from 0 to 1.

    Args:
        loss_function: as for every task.
        threshold: the output above which a label is predicted: 0 for logits, .5 for probabilities.
    """

    def __init__(self, loss_function: Callable[..., Tensor] | None = None, threshold: float = 0.0) -> None:
        super().__init__(nn.BCEWithLogitsLoss() if loss_function is None else loss_function)
        self.threshold = threshold
        self._warned = False

    def check(self, outputs: Tensor, labels: Tensor, read: Read = at_once) -> None:
        """Raise for targets of a regression; log once that labels between 0 and 1 are used as soft labels.

        Raises:
            LabelError: labels between 0 and 1 with a loss of differences, such as ``MSELoss``.
        """
        super().check(outputs, labels, read)
        if labels.is_floating_point():
            read(((labels == 0) | (labels == 1)).all(), partial(self._judge, outputs.detach(), labels))

    def _judge(self, outputs: Tensor, labels: Tensor, are_hard: Tensor) -> None:
        if are_hard:
            return
        refuse_regression(self.loss_function, outputs, labels)
        if not self._warned:
            self._warned = True
            logger.warning(
                "Labels between 0 and 1 are read as soft labels. An output counts as correct if it and its label are "
                "on the same side of 0.5. Regression targets are not supported."
            )

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the fraction of labels that are predicted correctly."""
        n = len(outputs)
        found, wanted = outputs.detach().reshape(n, -1) > self.threshold, labels.reshape(n, -1) > 0.5
        return (found == wanted).float().mean(1)

    def classes(self, labels: Tensor) -> Tensor:
        """Return 0 and 1 for one logit, and 0 for multi-label images."""
        return torch.zeros_like(labels[:, 0], dtype=torch.int64) if labels[0].numel() > 1 else self._index(labels)

    def chance(self, labels: Tensor) -> Tensor:
        """Return the mean over labels of the sum of the squared frequencies of presence and absence."""
        shares = labels.reshape(len(labels), -1).double().mean(0)
        return (shares**2 + (1 - shares) ** 2).mean()

    @staticmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the more probable value of each label, float ``(n, K)``, and the mean of their probabilities."""
        labels, confidences = likelier_values(outputs)
        return labels, confidences.flatten(1).mean(1)


def likelier_values(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the more probable value of each logit, float 0 or 1, and its probability, both of the shape of outputs."""
    probabilities = outputs.sigmoid()
    labels = (probabilities > 0.5).float()
    return labels, torch.where(labels > 0, probabilities, 1 - probabilities)
