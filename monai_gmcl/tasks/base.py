# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The base class of tasks."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError
from monai_gmcl.labels import are_masks, ignore_index_of, is_cross_entropy, labels_for_loss
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.per_image_loss import per_image_loss

__all__ = ["SUPPORTED_TASKS", "Task"]

SUPPORTED_TASKS = (
    "GMCLTrainer trains classification: class indices (B,) or (B, 1), one-hot or soft labels (B, K), several labels "
    "(B, K), or one logit (B,) or (B, 1); and segmentation: masks (B, 1, *spatial) or (B, K, *spatial). Regression is "
    "not supported"
)

BEYOND = 2**15
"""An upper bound of class indices."""


class Task(ABC):
    """Defines the meaning of labels for the student's loss, outputs and accuracy.

    Args:
        loss_function: the student's loss, ``(outputs, labels) -> loss``. A trainer sets its own (:meth:`follow`).

    Attributes:
        ignored: the class index that the loss ignores. Images or pixels with it count as unlabeled.
        without_channel: whether the loss takes masks ``(B, *spatial)``, without the channel that they have elsewhere.
    """

    without_channel = False

    def __init__(self, loss_function: Callable[..., Tensor] | None = None) -> None:
        self.follow(nn.CrossEntropyLoss() if loss_function is None else loss_function)

    def follow(self, loss_function: Callable[..., Tensor]) -> None:
        """Use another loss function."""
        self.loss_function = loss_function
        self.ignored = ignore_index_of(loss_function)
        # A lesson's graph is used after the optimizer's step, which changes the loss's own parameters in place.
        self._learns = isinstance(loss_function, nn.Module) and any(p.requires_grad for p in loss_function.parameters())

    @abstractmethod
    def check_labels(self, labels: object, num_classes: int | None, read: Read = at_once) -> None:
        """Raise unless labels are valid for this task; called before the student's pass.

        Args:
            labels: the labels of a batch.
            num_classes: the teacher's number of classes, or None if it is unknown.
            read: passes the lowest and highest label to a function on the host, now or later.

        Raises:
            LabelError: with what was found.
        """

    @abstractmethod
    def check_outputs(self, outputs: object, labels: Tensor, num_classes: int | None) -> None:
        """Raise unless the student's outputs fit the labels.

        Raises:
            StudentOutputError: the shapes do not fit; the message has both.
            LabelError: a class without a logit, or labels of another type.
        """

    @abstractmethod
    def check(self, outputs: Tensor, labels: Tensor, read: Read = at_once) -> None:
        """Raise if the loss interprets labels in another way than the task.

        Args:
            outputs: outputs of the student.
            labels: labels of the same images.
            read: passes values from the device to a function on the host, now or later.

        Raises:
            LabelError: with what was found.
        """

    def check_padding(self, padding: int | None, outputs: Tensor, labels: Tensor) -> None:  # noqa: B027
        """Raise if the loss does not accept the padding value that a teacher moves into masks.

        Args:
            padding: the padding value, or None.
            outputs: outputs of the student.
            labels: labels of the same images.

        Raises:
            LabelError: the value is not accepted; the message lists the accepted values.
        """

    @staticmethod
    def _are_indices(labels: Tensor) -> bool:
        """Whether labels are class indices, one of which is ignored. Masks of one channel are, also float ones."""
        return labels.shape[1] == 1 if are_masks(labels) else labels[0].numel() == 1 and not labels.is_floating_point()

    def _read_extremes(self, labels: Tensor, read: Read, refuse: Callable[[float, float], None]) -> None:
        """Call ``refuse`` with the lowest and highest label, unless all labels are ignored.

        Args:
            labels: labels of a batch.
            read: passes both values to a function on the host, now or later.
            refuse: function that raises LabelError for invalid labels.
        """
        lowest = highest = labels if labels.is_floating_point() else labels.long()
        if self._are_indices(labels):
            ignored = lowest == self.ignored
            lowest, highest = lowest.masked_fill(ignored, BEYOND), highest.masked_fill(ignored, -BEYOND)

        def judge(extremes: Tensor) -> None:
            least, most = extremes.tolist()
            if not least > most:
                refuse(least, most)

        read(torch.stack([lowest.amin(), highest.amax()]), judge)

    def loss(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the loss of a batch, a number."""
        return self.loss_function(outputs, self._for_loss(self.loss_function, labels)).mean()

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image ``(n,)``, whose mean is :meth:`loss`, without gradients for its parameters."""
        function = self.loss_function
        if self._learns:
            assert isinstance(function, nn.Module)
            function = copy.deepcopy(function).requires_grad_(False)
        return per_image_loss(function, outputs, self._for_loss(function, labels))

    def _for_loss(self, function: Callable[..., Tensor], labels: Tensor) -> Tensor:
        without = self.without_channel and not is_cross_entropy(function)
        return labels.squeeze(1) if without else labels_for_loss(function, labels)

    @abstractmethod
    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the correctness of each image, 0 to 1 ``(n,)``; NaN if it cannot be determined for the image."""

    @abstractmethod
    def answers(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the classes of each image, the correctness for each of them, and the correctness of the image.

        Returns:
            Classes int64 ``(n, m)``, padded with -1, for the class sampling of lessons; correctness for each class
            ``(n, m)``, 0 to 1, NaN if it cannot be determined; :meth:`correctness` ``(n,)``.
        """

    @abstractmethod
    def classes_of(self, labels: Tensor, output_shape: Sequence[int]) -> Tensor:
        """Return the classes of each image, int64 ``(n, m)``, as :meth:`answers` does, from labels on any device.

        Args:
            labels: labels of a batch.
            output_shape: shape of the student's output for one image.
        """

    @abstractmethod
    def chance(self, labels: Tensor) -> Tensor:
        """Return the expected correctness of random guesses with the frequencies of the labels, a number 0 to 1.

        The result is float64 on the labels' device; the host does not wait.
        """

    @staticmethod
    @abstractmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels that the outputs predict ``(n, ...)`` and the confidence of each, 0 to 1 ``(n,)``.

        For masks, the confidence is that of each pixel, ``(n, 1, *spatial)`` or ``(n, K, *spatial)``.
        """

    def leave_out_unsure(self, proposals: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Exclude pixels of proposed masks with the confidence 0.

        Args:
            proposals: labels from :meth:`check_proposals`.
            confidence: confidence of each image ``(n,)``, or of each pixel of a mask.

        Returns:
            The labels; the confidence of each image ``(n,)``; a factor of each image's weight ``(n,)``, or None for 1.

        Raises:
            LabelError: a confidence of another shape.
        """
        if confidence.shape != proposals.shape[:1]:
            raise LabelError(
                f"Expected the confidence of each proposed label ({len(proposals)},), got {tuple(confidence.shape)}."
            )
        return proposals, confidence, None

    def check_proposals(
        self, proposals: Tensor, n: int, like: Tensor, num_classes: int | None, read: Read = at_once
    ) -> Tensor:
        """Return proposed labels in the shape and type of given labels.

        Args:
            proposals: labels; one number for each image may have the shape ``(n,)`` or ``(n, 1)``.
            n: number of images.
            like: labels of real images ``(m, ...)``.
            num_classes: as in :meth:`check_labels`.
            read: as in :meth:`check_labels`.

        Raises:
            LabelError: proposals of another shape or type, or outside the classes.
        """
        wanted = (n, *like.shape[1:])
        if proposals.numel() == math.prod(wanted):
            proposals = proposals.reshape(wanted)
        if proposals.shape != wanted or proposals.is_floating_point() != like.is_floating_point():
            raise LabelError(
                f"Expected proposed labels {wanted} of {like.dtype}, as real images have, got "
                f"{tuple(proposals.shape)} of {proposals.dtype}. For several labels an image: "
                "PseudoLabeler(multi_label=True)."
            )
        return self._in_range(proposals, like.dtype, num_classes, read)

    def _in_range(self, proposals: Tensor, dtype: torch.dtype, num_classes: int | None, read: Read) -> Tensor:
        """Check proposed labels, and return them in the type of given labels, class indices within the classes.

        If the check is read late, an index outside the classes would end the process on a GPU before.
        """
        self.check_labels(proposals, num_classes, read)
        labels = proposals.to(dtype)
        if labels.dtype == torch.bool or not self._are_indices(labels):
            return labels
        within = labels.nan_to_num().clamp(0, None if num_classes is None else max(num_classes, 2) - 1)
        return torch.where(labels == self.ignored, labels, within)
