# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What labels mean: to the loss, to the student's outputs, to teachers, and to those who count classes.

A :class:`Task` is one meaning. The trainer chooses it by the first batch (:func:`choose_task`), or is given one.
"""

from __future__ import annotations

import copy
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.losses.dice import DiceCELoss
from monai.metrics.meandice import compute_dice
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError, StudentOutputError
from monai_gmcl.labels import are_masks, ignore_index_of, is_cross_entropy, labels_for_loss
from monai_gmcl.per_image_loss import per_image_loss

__all__ = ["SUPPORTED_TASKS", "Classification", "MultiLabel", "Segmentation", "Task", "choose_task"]

logger = logging.getLogger(__name__)

SUPPORTED_TASKS = (
    "GMCLTrainer trains classification: class indices (B,) or (B, 1), one-hot or soft labels (B, K), several labels "
    "(B, K), or one logit (B,) or (B, 1); and segmentation: masks (B, 1, *spatial) or (B, K, *spatial). Regression is "
    "not supported"
)


class Task(ABC):
    """What labels mean to the student's loss, outputs and accuracy.

    Args:
        loss_function: the student's, ``(outputs, labels) -> loss``; a trainer sets its own (:meth:`follow`).

    Attributes:
        ignored: the class index that the loss ignores: what has it has no label.
    """

    def __init__(self, loss_function: Callable[..., Tensor] | None = None) -> None:
        self.follow(nn.CrossEntropyLoss() if loss_function is None else loss_function)

    def follow(self, loss_function: Callable[..., Tensor]) -> None:
        """Take another loss."""
        self.loss_function = loss_function
        self.ignored = ignore_index_of(loss_function)
        # A lesson's graph outlives the optimizer's step, which changes the loss's own parameters in place.
        self._learns = isinstance(loss_function, nn.Module) and any(p.requires_grad for p in loss_function.parameters())

    @abstractmethod
    def check_labels(self, labels: object, num_classes: int | None) -> None:
        """Raise unless labels can be this task's; before the student's pass.

        Args:
            labels: of a batch, on the CPU.
            num_classes: how many classes the teacher knows; None where it does not say.

        Raises:
            LabelError: with what was found.
        """

    @abstractmethod
    def check_outputs(self, outputs: object, labels: Tensor, num_classes: int | None) -> None:
        """Raise unless the student's outputs fit the labels.

        Raises:
            StudentOutputError: with both shapes.
            LabelError: a class that has no logit; labels of another type.
        """

    @abstractmethod
    def check(self, outputs: Tensor, labels: Tensor) -> None:
        """Raise where labels do not mean what the loss makes of them.

        Raises:
            LabelError: with what was found.
        """

    def loss(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the loss of a batch, a number."""
        return self.loss_function(outputs, labels_for_loss(self.loss_function, labels)).mean()

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image ``(n,)``; their mean is :meth:`loss`. The loss itself learns nothing here."""
        function = self.loss_function
        if self._learns:
            assert isinstance(function, nn.Module)
            function = copy.deepcopy(function).requires_grad_(False)
        return per_image_loss(function, outputs, labels_for_loss(function, labels))

    @abstractmethod
    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return how right the student is on each image, 0 to 1 ``(n,)``; NaN where the image does not say."""

    @abstractmethod
    def answers(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the classes of each image, how right the student is on each of them, and on the image.

        Returns:
            Classes int64 ``(n, m)``, by which lessons' sources are drawn, -1 where there is none; correctness on each
            ``(n, m)``, 0 to 1, NaN where the image does not say; :meth:`correctness` ``(n,)``.
        """

    @abstractmethod
    def classes_of(self, labels: Tensor, output_shape: Sequence[int]) -> Tensor:
        """Return the classes of each image, int64 ``(n, m)``, as :meth:`answers` does, from labels on any device.

        Args:
            labels: of a batch.
            output_shape: of the student's output for one image.
        """

    @abstractmethod
    def chance(self, labels: Tensor) -> float:
        """Return the correctness of guesses by the labels' own shares, 0 to 1."""

    @staticmethod
    @abstractmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels that outputs say ``(n, ...)`` and how sure each is, 0 to 1 ``(n,)``."""

    def check_proposals(self, proposals: Tensor, n: int, like: Tensor, num_classes: int | None) -> Tensor:
        """Return proposed labels in the shape and type of given ones.

        Args:
            proposals: labels; one number an image may stand in a row or in a column.
            n: number of images.
            like: labels of real images ``(m, ...)``.
            num_classes: as in :meth:`check_labels`.

        Raises:
            LabelError: they have another shape or type, or are not among the classes.
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
        self.check_labels(proposals, num_classes)
        return proposals.to(like.dtype)


class _OfWholeImages(Task):
    """What one class and several labels have in common: labels ``(B,)``, ``(B, 1)`` or ``(B, K)``."""

    def check_labels(self, labels: object, num_classes: int | None) -> None:
        if not isinstance(labels, Tensor):
            raise LabelError("GMCLTrainer needs labeled batches: prepare_batch gave images without labels.")
        if labels.ndim not in (1, 2) or labels.numel() == 0:
            raise LabelError(f"Expected labels of whole images, got shape {tuple(labels.shape)}. {SUPPORTED_TASKS}.")
        values = labels if labels.is_floating_point() else labels.long()
        indices = labels[0].numel() == 1 and not labels.is_floating_point()
        if indices:
            values = values[values != self.ignored]
            if len(values) == 0:
                return
        least, most = values.min().item(), values.max().item()
        if not indices:
            if not (least >= 0 and most <= 1):
                raise LabelError(
                    f"Expected labels (B,) or (B, K) of {labels.dtype} from 0 to 1, got shape {tuple(labels.shape)} "
                    f"with values from {least:g} to {most:g}. {SUPPORTED_TASKS}."
                )
            return
        # One logit is asked about two classes, of which the teacher may count one.
        if least < 0 or (num_classes is not None and most >= max(num_classes, 2)):
            upper = (
                "the number of classes" if num_classes is None else f"{num_classes - 1} (the teacher's num_classes - 1)"
            )
            raise LabelError(f"Expected class labels from 0 to {upper}, got {least} to {most}.")

    def check_outputs(self, outputs: object, labels: Tensor, num_classes: int | None) -> None:
        if not isinstance(outputs, Tensor):
            raise StudentOutputError(
                f"Expected the student's output to be one tensor of logits, got {type(outputs).__name__}. "
                "An inferer can choose among several outputs."
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

    def check(self, outputs: Tensor, labels: Tensor) -> None:
        """Raise for integer labels ``(B, K)`` that are not one-hot with torch's cross-entropy."""
        if labels.is_floating_point() or labels[0].numel() == 1 or not is_cross_entropy(self.loss_function):
            return
        if not (labels.sum(1) == 1).all():
            raise LabelError(
                f"Expected integer labels {tuple(labels.shape)} with cross-entropy to be one-hot, got "
                f"{labels[labels.sum(1) != 1][0].tolist()}. For several labels an image, BCEWithLogitsLoss."
            )

    @abstractmethod
    def classes(self, labels: Tensor) -> Tensor:
        """Return the class of each image, int64 ``(n,)``; -1 where it has none."""

    def answers(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the class of each image, and twice how right the student is on it."""
        correct = self.correctness(outputs, labels)
        return self.classes(labels)[:, None], correct[:, None], correct

    def classes_of(self, labels: Tensor, output_shape: Sequence[int]) -> Tensor:
        """Return the class of each image ``(n, 1)``."""
        return self.classes(labels)[:, None]

    def _index(self, labels: Tensor) -> Tensor:
        classes = labels.flatten().float().round().long()
        return torch.where(classes == self.ignored, -1, classes)


class Classification(_OfWholeImages):
    """One class an image: class indices ``(B,)`` or ``(B, 1)``, one-hot or soft labels ``(B, K)``.

    The student's answer is its largest output.
    """

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 where the largest output is the label's, or that of the largest share of a soft label."""
        answers = outputs.detach().argmax(1)
        if labels[0].numel() == 1:
            return (answers == labels.flatten()).float()
        return (labels.gather(1, answers[:, None])[:, 0] == labels.amax(1)).float()

    def classes(self, labels: Tensor) -> Tensor:
        """Return the class of each image."""
        return labels.argmax(1) if labels[0].numel() > 1 else self._index(labels)

    def chance(self, labels: Tensor) -> float:
        """Return the sum of the classes' squared shares."""
        classes = self.classes(labels)
        counts = classes[classes >= 0].bincount().double()
        return float((counts / counts.sum().clamp_min(1)).square().sum())

    @staticmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the likeliest class int64 ``(n,)``, and its probability."""
        confidences, classes = outputs.softmax(1).max(1)
        return classes, confidences


class MultiLabel(_OfWholeImages):
    """Several labels an image, or one logit, each for itself: ``(B, K)``, ``(B, 1)`` or ``(B,)`` from 0 to 1.

    Args:
        loss_function: as for every task.
        threshold: the output above which a label is taken to be there: 0 for logits, .5 for probabilities.
    """

    def __init__(self, loss_function: Callable[..., Tensor] | None = None, threshold: float = 0.0) -> None:
        super().__init__(nn.BCEWithLogitsLoss() if loss_function is None else loss_function)
        self.threshold = threshold
        self._warned = False

    def check(self, outputs: Tensor, labels: Tensor) -> None:
        """Raise for targets of a regression; say once that labels between 0 and 1 are taken for soft labels.

        Raises:
            LabelError: labels between 0 and 1 with a loss of differences such as ``MSELoss``.
        """
        super().check(outputs, labels)
        if not labels.is_floating_point() or bool(((labels == 0) | (labels == 1)).all()):
            return
        _refuse_regression(self.loss_function, outputs, labels)
        if not self._warned:
            self._warned = True
            logger.warning(
                "Labels between 0 and 1 are taken for soft labels, each for itself: an output is right where it is on "
                "the same side as its label is of .5. Targets of a regression are not supported."
            )

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the share of labels on the right side."""
        n = len(outputs)
        found, wanted = outputs.detach().reshape(n, -1) > self.threshold, labels.reshape(n, -1) > 0.5
        return (found == wanted).float().mean(1)

    def classes(self, labels: Tensor) -> Tensor:
        """Return 0 and 1 for one logit; several labels all count as class 0."""
        return torch.zeros_like(labels[:, 0], dtype=torch.int64) if labels[0].numel() > 1 else self._index(labels)

    def chance(self, labels: Tensor) -> float:
        """Return the mean over labels of the squared shares of both sides."""
        shares = labels.reshape(len(labels), -1).double().mean(0)
        return float((shares**2 + (1 - shares) ** 2).mean())

    @staticmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return each label's likelier side, float ``(n, K)``, and the mean probability of those sides."""
        probabilities = outputs.sigmoid()
        labels = (probabilities > 0.5).float()
        return labels, torch.where(labels > 0, probabilities, 1 - probabilities).flatten(1).mean(1)


class Segmentation(Task):
    """A label for every pixel: masks ``(B, 1, *spatial)`` of class indices, or ``(B, K, *spatial)`` of channels.

    Class indices may come in any type, in floats that hold whole numbers too, as MONAI's readers give them. Class 0 is
    the background. Of channels that overlap, and of one output, the background is what none of them covers: channel k
    is then class k + 1.

    Args:
        loss_function: as for every task. Default: Dice and cross-entropy, with softmax, or sigmoid where channels
            overlap.
        overlapping: whether each output channel is an answer of its own (sigmoid); otherwise a pixel has one class,
            that of the largest output (softmax).
        threshold: the output above which an overlapping channel says yes: 0 for logits, .5 for probabilities.
    """

    def __init__(
        self,
        loss_function: Callable[..., Tensor] | None = None,
        overlapping: bool = False,
        threshold: float = 0.0,
    ) -> None:
        if loss_function is None:
            loss_function = DiceCELoss(sigmoid=overlapping, softmax=not overlapping, to_onehot_y=not overlapping)
        super().__init__(loss_function)
        self.overlapping = overlapping
        self.threshold = threshold
        self._checked = False

    def check_labels(self, labels: object, num_classes: int | None) -> None:
        if not isinstance(labels, Tensor):
            raise LabelError("GMCLTrainer needs labeled batches: prepare_batch gave images without masks.")
        if labels.ndim not in (4, 5) or labels.numel() == 0:
            raise LabelError(
                f"Expected masks (B, 1, *spatial) or (B, K, *spatial) of 2 or 3 spatial dimensions, got "
                f"{tuple(labels.shape)}. EnsureChannelFirstd adds a channel that is missing."
            )
        indices = labels.shape[1] == 1
        values = labels if labels.is_floating_point() else labels.long()
        values = values[values != self.ignored] if indices else values
        if values.numel() == 0:
            return
        least, most = values.min().item(), values.max().item()
        last = max(num_classes or 0, 2) - 1 if indices else 1
        if not (least >= 0 and (most <= last or (indices and num_classes is None))):
            raise LabelError(
                f"Expected masks with values from 0 to {last}, got {tuple(labels.shape)} with values from {least:g} to "
                f"{most:g}. MapLabelValued maps values to classes (255 to 1, say); pixels to leave out have the loss's "
                f"ignore_index, here {self.ignored}."
            )

    def check_outputs(self, outputs: object, labels: Tensor, num_classes: int | None) -> None:
        if not isinstance(outputs, Tensor) or outputs.ndim == labels.ndim + 1:
            found = str(tuple(outputs.shape)) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            raise StudentOutputError(
                f"Expected the student's output to be one tensor (B, K, *spatial), got {found}. Several outputs, as of "
                "deep supervision, are not supported: build the network with deep_supervision=False, or give an "
                "inferer that picks one."
            )
        if outputs.ndim != labels.ndim or (len(outputs), outputs.shape[2:]) != (len(labels), labels.shape[2:]):
            raise StudentOutputError(
                f"Expected the student's output to be (B, K, *spatial), of the size of its masks "
                f"{tuple(labels.shape)}, got {tuple(outputs.shape)}. Images and masks must have one size, which the "
                "network keeps."
            )
        given, wanted = outputs.shape[1], labels.shape[1]
        # One output is asked about two classes, of which the teacher may count one.
        classes = wanted if wanted > 1 else num_classes if given > 1 else None
        if classes not in (None, given):
            of = "its masks have" if wanted > 1 else "the teacher has num_classes"
            raise StudentOutputError(
                f"Expected the student's output to have {classes} channels, as many as {of}, got {tuple(outputs.shape)}"
                f" for masks {tuple(labels.shape)}."
            )
        if wanted == 1:
            self._check_indices(labels, given)

    def _check_indices(self, labels: Tensor, outputs: int) -> None:
        known = labels[labels != self.ignored]
        last = max(outputs, 2) - 1
        if len(known) and known.max() > last:
            raise LabelError(
                f"Expected masks from 0 to {last}, as the student has {outputs} output channel(s), got "
                f"{known.max().item():g}."
            )
        if outputs > 1 and labels.is_floating_point() and not torch.equal(known, known.round()):
            raise LabelError(
                f"Expected masks of class indices, got {float(known[known != known.round()][0]):g} among them. Resample"
                " masks with mode='nearest'; shares of classes take a channel for each class."
            )

    def check(self, outputs: Tensor, labels: Tensor) -> None:
        """Raise for targets of a regression; looked at on the first batch."""
        if self._checked or not labels.is_floating_point() or outputs.shape != labels.shape:
            return
        self._checked = True
        _refuse_regression(self.loss_function, outputs, labels)

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean Dice of the classes of each image, 0 to 1 ``(n,)``; NaN where it holds none.

        The background is left out, and so is a class of which the mask has no pixel, as MONAI's metrics do.
        """
        return self.answers(outputs, labels)[2]

    @torch.no_grad()
    def answers(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the classes of which each mask has a pixel, the background first, the Dice of each, and their mean."""
        found, wanted = self._found(outputs), self._wanted(outputs.shape[1], labels)
        if labels.shape[1] == 1:
            found = found & (labels != self.ignored)
        dice = compute_dice(found, wanted)
        return _held(wanted), dice, dice[:, 1:].nanmean(1)

    def classes_of(self, labels: Tensor, output_shape: Sequence[int]) -> Tensor:
        """Return the classes of which each mask has a pixel, the background first."""
        return _held(self._wanted(output_shape[0], labels))

    def _found(self, outputs: Tensor) -> Tensor:
        """Return what outputs say, bool ``(n, m, *spatial)``."""
        if self.overlapping:
            return _with_background(outputs > self.threshold)
        return outputs.argmax(1, keepdim=True) == _channels(outputs.shape[1], outputs)

    def _wanted(self, channels: int, labels: Tensor) -> Tensor:
        """Return what masks say where they are known, bool ``(n, m, *spatial)``."""
        if self.overlapping:
            wanted = _with_background(labels > 0.5)
        else:
            indices = labels if labels.shape[1] == 1 else labels.argmax(1, keepdim=True)
            wanted = indices == _channels(channels, labels)
        return wanted & (labels != self.ignored) if labels.shape[1] == 1 else wanted

    def chance(self, labels: Tensor) -> float:
        """Return the mean share of the classes: about the Dice of guesses by those shares."""
        if labels.shape[1] == 1:
            known = labels[labels != self.ignored].round().long()
            shares = known.bincount(minlength=2)[1:].double() / max(len(known), 1)
        else:
            shares = labels[:, 0 if self.overlapping else 1 :].transpose(0, 1).flatten(1).double().mean(1)
        return float(shares[shares > 0].mean()) if bool((shares > 0).any()) else 0.0

    @staticmethod
    def propose(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return each pixel's likeliest class ``(n, 1, *spatial)``, and the mean probability of those ``(n,)``.

        Classes are int64, or float 0 and 1 of one output.
        """
        if outputs.shape[1] == 1:
            return MultiLabel.propose(outputs)
        confidences, classes = outputs.softmax(1).max(1, keepdim=True)
        return classes, confidences.flatten(1).mean(1)


def choose_task(loss_function: Callable[..., Tensor], labels: object, outputs: Tensor | None = None) -> Task:
    """Return what labels mean to a loss function.

    Class indices are one class an image. Of labels ``(B, K)`` the loss itself tells: one that does not change when all
    outputs of an image rise by the same amount has a softmax in it (cross-entropy), so that the largest output is the
    student's answer; so have outputs that sum to 1. With any other loss each output is an answer of its own: a
    logit, which says yes above 0, or, where the loss takes .5 to be undecided (``BCELoss``), a probability. The loss is
    asked on made-up outputs from 0 to 1, never on images. Masks are asked about likewise, pixel by pixel.

    Args:
        loss_function: the student's.
        labels: of a batch.
        outputs: of the student, ``(B, K)``, ``(B,)`` or ``(B, K, *spatial)``. Without them: a task
            whose checks of labels and outputs are those of all tasks with labels of this shape.
    """
    if outputs is None or not isinstance(labels, Tensor):
        return (Segmentation if are_masks(labels) else Classification)(loss_function)
    loss = _Loss(loss_function)
    if are_masks(labels):
        return _choose_segmentation(loss, labels, outputs.detach())
    one_output = outputs[0].numel() == 1
    if not one_output and (labels[0].numel() == 1 or loss.has_softmax(outputs.detach(), labels)):
        return Classification(loss_function)
    return MultiLabel(loss_function, 0.5 if loss.is_undecided_at_half(outputs, labels) else 0.0)


def _choose_segmentation(loss: _Loss, labels: Tensor, outputs: Tensor) -> Segmentation:
    # Not by the batch's masks: where they are empty, Dice is the same whatever the outputs.
    chosen = torch.randint(outputs.shape[1], (len(outputs), 1, *outputs.shape[2:]), generator=torch.Generator())
    made_up = (chosen.to(outputs.device) == _channels(outputs.shape[1], outputs)).to(outputs.dtype)
    of_classes = outputs.shape[1] > 1 and (labels.shape[1] == 1 or loss.has_softmax(outputs, made_up))
    if of_classes:
        return Segmentation(loss.function)
    return Segmentation(loss.function, overlapping=True, threshold=0.5 if loss.takes_probabilities(outputs) else 0.0)


class _Loss:
    """A loss function that is asked what it is, on made-up outputs; it stays as it was."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def has_softmax(self, outputs: Tensor, labels: Tensor) -> bool:
        ones = torch.ones_like(outputs[:, 0])
        if any(torch.allclose(o.sum(1), ones, atol=1e-3) and bool((o >= 0).all()) for o in (outputs, outputs.exp())):
            return True
        probe = torch.linspace(0.1, 0.5, outputs.numel(), device=outputs.device).view_as(outputs).to(outputs.dtype)
        return _same(self._at(probe, labels), self._at(probe + 0.4, labels))

    def is_undecided_at_half(self, outputs: Tensor, labels: Tensor) -> bool:
        half = torch.full_like(outputs, 0.5)
        return _same(self._at(half, torch.zeros_like(labels)), self._at(half, torch.ones_like(labels)))

    def takes_probabilities(self, outputs: Tensor) -> bool:
        """Whether a loss of masks takes outputs of 1 to be as sure as can be, or .5 to be undecided."""
        ones = torch.ones_like(outputs)
        return self.is_undecided_at_half(outputs, ones) or self._at(ones, ones) < 0.01 * self._at(ones / 2, ones)

    def is_of_differences(self, outputs: Tensor, labels: Tensor) -> bool:
        def at(output: float, label: float) -> float:
            return self._at(torch.full_like(outputs, output), torch.full_like(labels, label))

        return _same(at(0.4, 0.1), at(0.9, 0.6)) and _same(at(0.1, 0.4), at(0.6, 0.9))

    @torch.no_grad()
    def _at(self, outputs: Tensor, labels: Tensor) -> float:
        try:
            # Losses may count their calls, or learn.
            loss = copy.deepcopy(self.function) if isinstance(self.function, nn.Module) else self.function
            with torch.random.fork_rng(devices=[outputs.device] if outputs.device.type == "cuda" else []):
                torch.manual_seed(0)
                return float(loss(outputs, labels_for_loss(self.function, labels)).mean())
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError):
            # A loss that refuses made-up outputs or labels is none of the kind that is asked for.
            return float("nan")


def _refuse_regression(loss_function: Callable[..., Tensor], outputs: Tensor, labels: Tensor) -> None:
    between = labels[(labels > 0) & (labels < 1)]
    if len(between) and _Loss(loss_function).is_of_differences(outputs, labels.to(outputs.device)):
        raise LabelError(
            f"Labels between 0 and 1, such as {float(between[0]):g}, with a loss of differences "
            f"({_name(loss_function)}) are targets of a regression. {SUPPORTED_TASKS}; use SupervisedTrainer for them."
        )


def _channels(count: int, like: Tensor) -> Tensor:
    """Return the numbers of the channels ``(1, K, 1, ...)``."""
    return torch.arange(count, device=like.device).view(1, -1, *[1] * (like.ndim - 2))


def _held(wanted: Tensor) -> Tensor:
    """Return the numbers of the channels that have a pixel ``(n, m)``, -1 for the others."""
    held = wanted.flatten(2).any(2)
    return torch.where(held, torch.arange(held.shape[1], device=held.device), -1)


def _with_background(covered: Tensor) -> Tensor:
    """Put what no channel covers before the channels, bool ``(n, K + 1, *spatial)``."""
    return torch.cat([~covered.any(1, keepdim=True), covered], 1)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-3)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
