# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A label for every pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor

from monai_gmcl.exceptions import LabelError, StudentOutputError
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.tasks.asked_loss import AskedLoss, refuse_regression
from monai_gmcl.tasks.base import Task
from monai_gmcl.tasks.whole_images import likelier_values

__all__ = ["Segmentation", "channel_numbers"]

MOST_CLASSES = 2**15
"""Largest number of classes in masks of class indices, which are stored as int16."""


class Segmentation(Task):
    """A label for every pixel: masks ``(B, 1, *spatial)`` of class indices, or ``(B, K, *spatial)`` of channels.

    Class indices may have any type, also float with whole numbers, as MONAI's readers give them. Class 0 is the
    background. If channels overlap, or if there is one output, the background is the pixels that no channel covers, and
    channel k is class k + 1.

    Args:
        loss_function: as for every task. Default: Dice and cross-entropy, with softmax, or sigmoid if channels overlap.
        overlapping: whether each output channel is predicted independently (sigmoid). Otherwise a pixel has one class,
            that of the largest output (softmax).
        threshold: the output above which an overlapping channel is predicted: 0 for logits, .5 for probabilities.
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

    def follow(self, loss_function: Callable[..., Tensor]) -> None:
        super().follow(loss_function)
        self._leaves_out: list[bool | None] = []

    def check_labels(self, labels: object, num_classes: int | None, read: Read = at_once) -> None:
        if not isinstance(labels, Tensor):
            raise LabelError("GMCLTrainer needs labeled batches: prepare_batch returned images without masks.")
        if labels.ndim not in (4, 5) or labels.numel() == 0:
            raise LabelError(
                f"Expected masks (B, 1, *spatial) or (B, K, *spatial) of 2 or 3 spatial dimensions, got "
                f"{tuple(labels.shape)}. EnsureChannelFirstd adds a channel that is missing."
            )
        self._read_extremes(labels, read, partial(self._refuse_values, labels.shape, num_classes))

    def _refuse_values(self, shape: Sequence[int], num_classes: int | None, least: float, most: float) -> None:
        indices = shape[1] == 1
        last = max(num_classes or 0, 2) - 1 if indices else 1
        if not (least >= 0 and (most <= last or (indices and num_classes is None))):
            of = f", as the teacher's num_classes is {num_classes}," if indices and num_classes else ","
            raise LabelError(
                f"Expected masks with values from 0 to {last}{of} got {tuple(shape)} with values from {least:g} to "
                f"{most:g}. Map values to classes with MapLabelValued, such as 255 to 1. Ignored pixels have the "
                f"ignore_index of the loss, {self.ignored}."
            )

    def check_outputs(self, outputs: object, labels: Tensor, num_classes: int | None) -> None:
        if not isinstance(outputs, Tensor) or outputs.ndim == labels.ndim + 1:
            found = str(tuple(outputs.shape)) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            raise StudentOutputError(
                f"Expected the student's output to be one tensor (B, K, *spatial), got {found}. Several outputs, as of "
                "deep supervision, are not supported. Build the network with deep_supervision=False, or use an inferer "
                "that returns one of them."
            )
        if outputs.ndim != labels.ndim or (len(outputs), outputs.shape[2:]) != (len(labels), labels.shape[2:]):
            raise StudentOutputError(
                f"Expected the student's output to be (B, K, *spatial), of the size of its masks "
                f"{tuple(labels.shape)}, got {tuple(outputs.shape)}. Images, masks and outputs must have the same "
                "size."
            )
        given, wanted = outputs.shape[1], labels.shape[1]
        # One output has two classes; the teacher's num_classes may be 1.
        classes = wanted if wanted > 1 else num_classes if given > 1 else None
        if classes not in (None, given):
            of = "its masks have" if wanted > 1 else "the teacher has num_classes"
            raise StudentOutputError(
                f"Expected the student's output to have {classes} channels, as many as {of}, got {tuple(outputs.shape)}"
                f" for masks {tuple(labels.shape)}."
            )
        if wanted == 1:
            self._check_indices(labels, outputs)

    def _check_indices(self, labels: Tensor, like: Tensor) -> None:
        known, outputs = labels[labels != self.ignored], like.shape[1]
        last = max(outputs, 2) - 1
        if len(known) < labels.numel() and self._loss_leaves_out(like) is False:
            raise LabelError(
                f"Expected masks from 0 to {last}, got {self.ignored}, and the loss does not ignore such pixels. "
                "Use DiceLoss(ignore_index=...) or CrossEntropyLoss(ignore_index=...); DiceCELoss has no ignore_index."
            )
        if len(known) and known.max() > last:
            raise LabelError(
                f"Expected masks from 0 to {last}, as the student has {outputs} output channel(s), got "
                f"{known.max().item():g}."
            )
        if outputs > 1 and labels.is_floating_point() and not torch.equal(known, known.round()):
            raise LabelError(
                f"Expected masks of class indices, got the value {float(known[known != known.round()][0]):g}. Resample "
                "masks with mode='nearest', or use one channel for each class."
            )

    def check(self, outputs: Tensor, labels: Tensor, read: Read = at_once) -> None:
        """Raise for targets of a regression; only the first batch is checked."""
        self._loss_leaves_out(outputs)
        if self._checked or not labels.is_floating_point() or outputs.shape != labels.shape:
            return
        self._checked = True
        refuse_regression(self.loss_function, outputs, labels)

    def check_padding(self, padding: int | None, outputs: Tensor, labels: Tensor) -> None:
        if padding is None:
            return
        indices = labels.shape[1] == 1
        last = max(outputs.shape[1], 2) - 1 if indices else 1
        leaves_out = indices and self._loss_leaves_out(outputs) is not False
        if not (0 <= padding <= last or (leaves_out and padding == self.ignored)):
            ignored = f", or {self.ignored}, which the loss ignores" if leaves_out else ""
            raise LabelError(f"label_padding: expected a value of masks, 0 to {last}{ignored}, got {padding}.")
        if not _holds(labels.dtype, padding):
            raise LabelError(
                f"label_padding: masks of {labels.dtype} cannot have the value {padding}. Give them another type "
                "(EnsureTyped(dtype=torch.int64)), or the loss another ignore_index."
            )

    def correctness(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean Dice of the classes of each image, 0 to 1 ``(n,)``; NaN if the mask contains no class.

        As in MONAI's metrics, the background is left out, and so is a class without a pixel in the mask.
        """
        return self.answers(outputs, labels)[2]

    @torch.no_grad()
    def answers(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the classes that each mask contains, background first, the Dice of each class, and their mean."""
        found, wanted = self._found(outputs), self._wanted(outputs.shape[1], labels)
        if labels.shape[1] == 1:
            found = found & (labels != self.ignored)
        dice = _dice(found.flatten(2), wanted.flatten(2))
        return _held(wanted), dice, dice[:, 1:].nanmean(1)

    def classes_of(self, labels: Tensor, output_shape: Sequence[int]) -> Tensor:
        """Return the classes that each mask contains, background first."""
        return _held(self._wanted(output_shape[0], labels))

    def _found(self, outputs: Tensor) -> Tensor:
        """Return the predicted channels, bool ``(n, m, *spatial)``."""
        if self.overlapping:
            return _with_background(outputs > self.threshold)
        # Not argmax, which takes 15 times as long on a CPU where dim is not the last.
        return outputs.max(1, keepdim=True).indices == channel_numbers(outputs.shape[1], outputs)

    def _wanted(self, channels: int, labels: Tensor) -> Tensor:
        """Return the channels of masks without ignored pixels, bool ``(n, m, *spatial)``."""
        if self.overlapping:
            wanted = _with_background(labels > 0.5)
        else:
            numbers = labels.byte() if labels.dtype == torch.bool else labels
            indices = labels if labels.shape[1] == 1 else numbers.max(1, keepdim=True).indices
            wanted = indices == channel_numbers(channels, labels)
        return wanted & (labels != self.ignored) if labels.shape[1] == 1 else wanted

    def chance(self, labels: Tensor) -> Tensor:
        """Return the mean frequency of the classes, about the Dice of random guesses with these frequencies."""
        if labels.shape[1] > 1:
            shares = labels[:, 0 if self.overlapping else 1 :].transpose(0, 1).flatten(1).double().mean(1)
            return shares.sum() / (shares > 0).sum().clamp_min(1)
        known = labels != self.ignored
        pixels = torch.where(known, labels.round().long(), 0).flatten()
        # Of a fixed length, because the host would wait for the length of bincount.
        counts = pixels.new_zeros(MOST_CLASSES).scatter_add_(0, pixels, pixels.new_ones(()).expand_as(pixels))[1:]
        return counts.sum().double() / (known.sum() * (counts > 0).sum()).clamp_min(1)

    def check_proposals(
        self, proposals: Tensor, n: int, like: Tensor, num_classes: int | None, read: Read = at_once
    ) -> Tensor:
        if proposals.ndim == like.ndim and proposals.shape[1] == 1 < like.shape[1] and not self.overlapping:
            self.check_labels(proposals, like.shape[1], read)
            # Not one_hot, which fails for an index outside the classes; on a GPU, it would end the process.
            proposals = (proposals == channel_numbers(like.shape[1], proposals)).float()
        wanted = (n, *like.shape[1:])
        if proposals.shape[2:] != like.shape[2:]:
            raise LabelError(
                f"Expected unlabeled images of the size of labeled ones, {tuple(like.shape[2:])}, got "
                f"{tuple(proposals.shape[2:])}. Crop both alike, such as with RandSpatialCropSamplesd, or resize them."
            )
        if proposals.shape != wanted:
            raise LabelError(
                f"Expected proposed masks {wanted}, as real ones have, got {tuple(proposals.shape)}. For classes that "
                "overlap: PseudoLabeler(multi_label=True)."
            )
        return self._in_range(proposals, like.dtype, num_classes, read)

    @staticmethod
    def propose(outputs: Tensor, overlapping: bool = False) -> tuple[Tensor, Tensor]:
        """Return the most probable class of each pixel, int64, and its probability, both ``(n, 1, *spatial)``.

        For overlapping channels, or with one output: the more probable value of each channel, float ``(n, K,
        *spatial)``.
        """
        if overlapping or outputs.shape[1] == 1:
            return likelier_values(outputs)
        confidences, classes = outputs.softmax(1).max(1, keepdim=True)
        return classes, confidences

    def leave_out_unsure(self, proposals: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Exclude pixels of proposed masks with the confidence 0 in at least one channel.

        Excluded pixels get the class index that the loss ignores. If the loss ignores none, or masks have channels, the
        proposal is kept, and the weight of the image is multiplied by the fraction of its other pixels.
        """
        if confidence.ndim == 1:
            return super().leave_out_unsure(proposals, confidence)
        if (len(confidence), confidence.shape[2:]) != (len(proposals), proposals.shape[2:]):
            raise LabelError(
                f"Expected the confidence of proposed masks {tuple(proposals.shape)} by image, ({len(proposals)},), or "
                f"by pixel, got {tuple(confidence.shape)}."
            )
        sure = (confidence > 0).all(1, keepdim=True)
        of_images = confidence.flatten(1).mean(1)
        if proposals.shape[1] > 1 or self._leaves_out != [True]:
            return proposals, of_images, sure.flatten(1).to(of_images).mean(1)
        if not _holds(proposals.dtype, self.ignored):
            proposals = proposals.to(torch.int16)
        return torch.where(sure, proposals, self.ignored), of_images, None

    def _loss_leaves_out(self, outputs: Tensor) -> bool | None:
        """Whether the loss ignores pixels with the value ``ignored``, or None if unknown; tested once for each loss."""
        if not self._leaves_out:
            self._leaves_out = [AskedLoss(self.loss_function).leaves_out(self.ignored, outputs.shape[1:])]
        return self._leaves_out[0]


def channel_numbers(count: int, like: Tensor) -> Tensor:
    """Return the numbers of the channels ``(1, K, 1, ...)``."""
    return torch.arange(count, device=like.device).view(1, -1, *[1] * (like.ndim - 2))


def _holds(dtype: torch.dtype, value: int) -> bool:
    """Whether a type can represent the value."""
    if dtype.is_floating_point or dtype == torch.bool:
        return dtype.is_floating_point or value in (0, 1)
    return torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max


def _held(wanted: Tensor) -> Tensor:
    """Return the numbers of the channels with at least one pixel ``(n, m)``, -1 for other channels."""
    held = wanted.flatten(2).any(2)
    return torch.where(held, torch.arange(held.shape[1], device=held.device), -1)


def _dice(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the Dice of each channel ``(n, m)`` of bool ``(n, m, pixels)``; NaN if the mask has no pixel of it.

    The result equals that of ``monai.metrics.compute_dice``, bit for bit, but the host does not wait for each channel.
    """
    both, of_wanted, of_found = (pixels.sum(2, dtype=torch.int32) for pixels in (found & wanted, wanted, found))
    return torch.where(of_wanted > 0, 2.0 * both / (of_wanted + of_found), torch.nan)


def _with_background(covered: Tensor) -> Tensor:
    """Add the background (pixels without a channel) as the first channel, bool ``(n, K + 1, *spatial)``."""
    return torch.cat([~covered.any(1, keepdim=True), covered], 1)
