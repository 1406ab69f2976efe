# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments, images, labels, outputs and finite numbers; each raises one error."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Sized
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_gmcl.engines.batches import RealBatch
from monai_gmcl.exceptions import (
    ConfigurationError,
    DataError,
    ImageRangeError,
    NonFiniteLossError,
    TeacherError,
)
from monai_gmcl.hypergradients import Hypergradient
from monai_gmcl.labels import IGNORED, are_masks
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.ranks import Ranks
from monai_gmcl.teachers.base import Teacher

__all__ = [
    "RangeCheck",
    "check_counts",
    "check_device",
    "check_epoch_lengths",
    "check_extra_inputs",
    "check_generated",
    "check_images",
    "check_intervals",
    "check_lesson",
    "check_loss",
    "check_ranks",
    "check_trained",
    "check_uncompiled",
    "image_name",
]

logger = logging.getLogger(__name__)


def check_uncompiled(student: nn.Module, teacher: nn.Module) -> None:
    """Raise if a network was compiled in a way that lessons cannot use: a student in place, or any teacher."""
    # In place: nn.Module.compile; as a wrapper: torch.compile.
    if any(getattr(module, "_compiled_call_impl", None) for module in student.modules()):
        raise ConfigurationError(
            "The student, or a part of it, is compiled in place. Compiled code cannot be differentiated twice, as "
            "lessons need. Use the uncompiled student with GMCLTrainer(compile=True), which compiles only the pass on "
            "real images."
        )
    if hasattr(teacher, "_orig_mod") or any(getattr(m, "_compiled_call_impl", None) for m in teacher.modules()):
        raise ConfigurationError(
            "The teacher is compiled. Expected it uncompiled, so that it makes exactly the same lesson again. The "
            "teacher's pass takes only a few percent of an iteration."
        )


def check_device(module: nn.Module, device: torch.device, role: str = "teacher") -> None:
    """Raise unless a module is on the trainer's device; ``role`` is the name of its argument."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.device.type != device.type or device.index not in (None, value.device.index):
            raise ConfigurationError(
                f"{role}: expected it on the trainer's device, {device}, found its {name} on {value.device}. Call "
                ".to(device) on it before you create its optimizer."
            )


def check_images(images: Tensor, meta: Mapping[str, Any] | None = None, read: Read = at_once) -> None:
    """Raise a DataError with the first such image unless all images ``(B, C, ...)`` are finite.

    ``read`` passes values from the device to a function on the host, now or later.
    """
    read(_finite(images), partial(_refuse_images, meta=meta))


def _refuse_images(finite: Tensor, meta: Mapping[str, Any] | None) -> None:
    if finite.all():
        return
    index = int(finite.logical_not().nonzero()[0])
    raise DataError(
        f"Image {index} of a batch{image_name(index, meta)} has NaN or infinite values; expected finite values. Check "
        "the file and the transforms."
    )


def image_name(index: int, meta: Mapping[str, Any] | None) -> str:
    """Return the file name of an image for a message, between commas; empty if the meta data have no file name."""
    names = (meta or {}).get("filename_or_obj", ())
    return f", {names[index]}," if isinstance(names, list | tuple) and index < len(names) else ""


def check_loss(loss: Tensor, labels: Tensor, ignored: int = IGNORED, read: Read = at_once) -> None:
    """Raise unless the student's loss on real images is finite; the message uses their labels on the CPU."""
    read(loss, partial(_refuse_loss, labels=labels, ignored=ignored))


def _refuse_loss(loss: Tensor, labels: Tensor, ignored: int) -> None:
    if not torch.isfinite(loss):
        if (are_masks(labels) or not labels.is_floating_point()) and bool((labels.long() == ignored).all()):
            raise NonFiniteLossError(
                f"All labels of the batch are the ignored value, {ignored}, so the loss has no mean. Use batches with "
                "at least one other label, or a loss that is 0 for such batches."
            )
        raise NonFiniteLossError(
            f"The student's loss on real images is {loss.item()}. Check the images for NaN, lower the learning rate, "
            "or clip the gradient in a handler of IterationEvents.BACKWARD_COMPLETED."
        )


def check_lesson(losses: Tensor, weights: Tensor, read: Read = at_once) -> None:
    """Raise unless the student's loss on each image of a lesson ``(n,)`` and the image's weight ``(n,)`` are finite."""
    read(torch.stack([losses, weights.to(losses)]), _refuse_lesson)


def _refuse_lesson(losses_and_weights: Tensor) -> None:
    if torch.isfinite(losses_and_weights).all():
        return
    for what, values in zip(("student's loss on", "weight of"), losses_and_weights, strict=True):
        faulty = torch.isfinite(values).logical_not().nonzero()
        if len(faulty):
            index = int(faulty[0])
            raise NonFiniteLossError(
                f"The {what} image {index} of the lesson is {values[index].item()}. Lower the learning rates or the "
                "curriculum's difficulty, or check the weighting and the label_proposal, which give the weights."
            )


def check_generated(generated: object, teacher: nn.Module, shape: Sequence[int], read: Read = at_once) -> None:
    """Raise a TeacherError unless the teacher returned a finite float batch of the expected shape."""
    name = type(teacher).__name__
    if not isinstance(generated, Tensor) or not generated.is_floating_point():
        found = generated.dtype if isinstance(generated, Tensor) else type(generated).__name__
        raise TeacherError(f"Expected {name} to return a float tensor of images, got {found}.")
    if tuple(generated.shape) != tuple(shape):
        raise TeacherError(
            f"Expected {name} to return images shaped {tuple(shape)} as the real ones, got {tuple(generated.shape)}."
        )
    read(_finite(generated), partial(_refuse_generated, name=name))


def _refuse_generated(finite: Tensor, name: str) -> None:
    if not finite.all():
        raise TeacherError(
            f"Expected {name} to return finite images, got NaN or infinite values. Lower the teacher's learning rate."
        )


def _finite(images: Tensor) -> Tensor:
    """Return whether each image ``(B, ...)`` is finite, bool ``(B,)``."""
    flat = images.detach().flatten(1)
    if images.device.type != "cpu":
        # Both preserve NaN and infinity, and no finite number becomes NaN or infinite.
        return torch.isfinite(torch.stack([flat.amin(1), flat.amax(1)])).all(0)
    # A sum preserves NaN and infinity, in a third of the time. If a sum of finite numbers overflows, each number is
    # checked.
    finite = torch.isfinite(flat.sum(1))
    return finite if finite.all() else torch.isfinite(flat).all(1)


OVERSHOOT = 0.1
"""Fraction of the value range by which noise and interpolation may exceed it; a teacher clamps such values."""


class RangeCheck:
    """Checks that batches from which lessons are made are within the ``value_range`` of the teacher, if it has one."""

    def __init__(self, teacher: nn.Module, read: Read = at_once) -> None:
        self.teacher = teacher
        self.read = read
        self._said = False

    def __call__(self, images: Tensor, meta: Mapping[str, Any] | None = None) -> None:
        """Raise if values are outside the range by more than a tenth of it; warn once if they are slightly outside."""
        if isinstance(self.teacher, Teacher):
            self.read(self.teacher.extremes_of_each(images), partial(self._judge, meta=meta))

    def _judge(self, extremes: Tensor, meta: Mapping[str, Any] | None) -> None:
        teacher = self.teacher
        assert isinstance(teacher, Teacher)
        low, high = teacher.value_range
        of_each = torch.maximum(low - extremes[:, 0], extremes[:, 1] - high)
        index = int(of_each.argmax())
        beyond = float(of_each[index])
        if beyond > OVERSHOOT * (high - low):
            try:
                teacher.check_extremes(*extremes[index].tolist())
            except ImageRangeError as error:
                raise ImageRangeError(f"Image {index} of a batch{image_name(index, meta)}: {error}") from None
        elif not self._said and beyond > 0.01 * (high - low):
            self._said = True
            logger.warning(
                "Image values exceed the teacher's value_range, %g to %g, by %.2g, and lessons clip them. This is "
                "normal for noise and interpolation. If the images themselves have such values, scale them or build "
                "the teacher with another value_range.",
                low,
                high,
                beyond,
            )


def check_trained(names: Sized, optimizer: Optimizer, network: nn.Module, role: str = "optimizer") -> None:
    """Raise if an optimizer has no parameter of its network, for example after the network was replaced."""
    if len(names) == 0:
        raise ConfigurationError(
            f"{role}: {type(optimizer).__name__} trains no parameter of {type(network).__name__}. Create it with the "
            "parameters() of that network."
        )


def check_extra_inputs(real: RealBatch, teacher: nn.Module) -> None:
    """Raise if the student needs extra inputs, and lessons have no source images from which to take them."""
    if (real.args or real.kwargs) and not getattr(teacher, "needs_images", True):
        names = ", ".join([*(f"args[{i}]" for i in range(len(real.args))), *real.kwargs])
        raise ConfigurationError(
            f"prepare_batch gives the network extra inputs ({names}), which a lesson takes from its source images; "
            f"{type(teacher).__name__} has no source images. Use a teacher that changes images, such as "
            "PolicyTeacher."
        )


def check_counts(of: str = "", **counts: Any) -> None:
    """Raise unless all counts, given by name, are positive integers; the message begins with ``of``."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or int(count) < 1:
            raise ConfigurationError(f"{of}{name} must be a positive integer, got {count!r}.")


def check_intervals(hypergradient: Hypergradient, teacher_interval: int, accumulation_steps: int, amp: bool) -> None:
    """Raise if the estimator cannot be used with these intervals."""
    check_counts(accumulation_steps=accumulation_steps, teacher_interval=teacher_interval)
    name, lookback = type(hypergradient).__name__, hypergradient.lookback
    if lookback > teacher_interval:
        raise ConfigurationError(
            f"{name} uses the last {lookback} lessons of an unchanged teacher: teacher_interval must be at "
            f"least {lookback}, got {teacher_interval}."
        )
    if hypergradient.needs_real_step and (accumulation_steps > 1 or amp):
        raise ConfigurationError(
            f"{name} repeats the student's steps, which needs accumulation_steps=1 and amp=False; got "
            f"{accumulation_steps} and {amp}."
        )


def check_ranks(
    ranks: Ranks,
    student: nn.Module,
    teacher: nn.Module,
    hypergradient: Hypergradient | None,
    weighing: Hypergradient | None,
) -> None:
    """Raise if the result of several ranks would differ from the result of one process."""
    if ranks.alone:
        return
    if isinstance(teacher, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise ConfigurationError(
            f"The teacher is wrapped in {type(teacher).__name__}. Give the teacher itself; GMCLTrainer averages its "
            "gradient."
        )
    for estimator in (hypergradient, weighing):
        if estimator is not None and estimator.needs_real_step:
            raise ConfigurationError(
                f"{type(estimator).__name__} repeats the student's steps and would need the lessons of all "
                f"{ranks.size} ranks. Use HeadHypergradient, ExactHypergradient, or one process."
            )
    if not any(isinstance(module, nn.SyncBatchNorm) for module in student.modules()):
        return
    updates, weighs = (
        hypergradient is None or hypergradient.works_with_sync_batchnorm,
        weighing is None or weighing.weighs_with_sync_batchnorm,
    )
    for estimator, works in ((hypergradient, updates), (weighing, weighs)):
        if not works:
            raise ConfigurationError(
                f"{type(estimator).__name__} differentiates twice through the student, which SyncBatchNorm does not "
                "support. Use HeadHypergradient, or BatchNorm."
            )


def check_epoch_lengths(ranks: Ranks, epoch_length: int | None) -> None:
    """Raise unless all ranks have the same number of batches per epoch; otherwise they would wait forever."""
    lengths = ranks.lengths(-1 if epoch_length is None else epoch_length)
    if len(set(lengths)) > 1:
        raise ConfigurationError(
            f"Expected as many batches in an epoch on every rank, got {', '.join(map(str, lengths))}. Use "
            "monai.data.partition_dataset(..., even_divisible=True) or a DistributedSampler."
        )
