# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import (
    ConfigurationError,
    DataError,
    NonFiniteLossError,
    TeacherError,
)
from monai_gmcl.tasks import IGNORED

__all__ = [
    "check_device",
    "check_generated",
    "check_images",
    "check_lesson",
    "check_loss",
    "check_uncompiled",
    "image_name",
]


def check_uncompiled(student: nn.Module, teacher: nn.Module) -> None:
    """Raise where ``torch.compile`` would be in a lesson's way.

    Args:
        student: without wrappers.
        teacher: as the user gave it.

    Raises:
        ConfigurationError: a student, or a part of one, that was compiled in place; a compiled teacher.
    """
    # In place: nn.Module.compile; as a wrapper: torch.compile.
    if any(getattr(module, "_compiled_call_impl", None) for module in student.modules()):
        raise ConfigurationError(
            "The student, or a part of it, is compiled in place. Lessons go through it with other parameters and are "
            "differentiated twice, which compiled code does not allow: give it uncompiled, with "
            "GMCLTrainer(compile=True), which compiles its pass on real images alone."
        )
    if hasattr(teacher, "_orig_mod") or any(getattr(m, "_compiled_call_impl", None) for m in teacher.modules()):
        raise ConfigurationError(
            "Expected the teacher uncompiled: a lesson must come out the same when it is made again, compiled or not. "
            "Its pass is a few percent of an iteration."
        )


def check_device(module: nn.Module, device: torch.device, role: str = "teacher") -> None:
    """Raise unless a module is on the trainer's device.

    Args:
        module: the teacher, or a first student.
        device: the trainer's.
        role: the argument's name.

    Raises:
        ConfigurationError: naming both devices.
    """
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.device.type != device.type or device.index not in (None, value.device.index):
            raise ConfigurationError(
                f"{role}: expected it on the trainer's device, {device}, found its {name} on {value.device}. Call "
                ".to(device) on it, before an optimizer of it is made."
            )


def check_images(images: Tensor, meta: Mapping[str, Any] | None = None) -> None:
    """Raise unless all images ``(B, C, ...)`` are finite.

    Args:
        images: the batch.
        meta: what MONAI knows about it; names the file.

    Raises:
        DataError: with the first image that is not.
    """
    if _all_finite(images):
        return
    index = int(torch.isfinite(images).flatten(1).all(1).logical_not().nonzero()[0])
    raise DataError(
        f"Image {index} of a batch{image_name(index, meta)} holds NaN or infinite values; expected finite "
        "numbers. Look at the file and at the transforms."
    )


def image_name(index: int, meta: Mapping[str, Any] | None) -> str:
    """Return the file of an image of a batch for a message, between commas, as far as MONAI knows it."""
    names = (meta or {}).get("filename_or_obj", ())
    return f", {names[index]}," if isinstance(names, list | tuple) and index < len(names) else ""


def check_loss(loss: Tensor, labels: Tensor, ignored: int = IGNORED) -> None:
    """Raise unless the student's loss is finite.

    Args:
        loss: on real images.
        labels: of those images.
        ignored: the class index that the loss ignores.

    Raises:
        NonFiniteLossError: with the value.
    """
    if not torch.isfinite(loss):
        if not labels.is_floating_point() and bool((labels.long() == ignored).all()):
            raise NonFiniteLossError(
                f"Every label of the batch is the ignored one, {ignored}: the loss is a mean over none. Give batches "
                "with a label at least, or a loss that is 0 there."
            )
        raise NonFiniteLossError(
            f"The student's loss on real images is {loss.item()}. Check the images for NaN, lower the learning rate, "
            "or clip the gradient in a handler of IterationEvents.BACKWARD_COMPLETED."
        )


def check_lesson(losses: Tensor, weights: Tensor) -> None:
    """Raise unless the student's loss on each image of a lesson ``(n,)`` and the image's weight ``(n,)`` are finite.

    Raises:
        NonFiniteLossError: with the first image of which one is not.
    """
    if bool((torch.isfinite(losses) & torch.isfinite(weights)).all()):
        return
    for what, values in (("student's loss on", losses), ("weight of", weights)):
        faulty = torch.isfinite(values).logical_not().nonzero()
        if len(faulty):
            index = int(faulty[0])
            raise NonFiniteLossError(
                f"The {what} image {index} of the lesson is {values[index].item()}. Lower the learning rates, or the "
                "curriculum's difficulty; weights come from the weighting and the label_proposal."
            )


def check_generated(generated: object, teacher: nn.Module, shape: Sequence[int]) -> None:
    """Raise unless the teacher gave a finite float batch of images shaped as expected.

    Raises:
        TeacherError: with what it gave.
    """
    name = type(teacher).__name__
    if not isinstance(generated, Tensor) or not generated.is_floating_point():
        found = generated.dtype if isinstance(generated, Tensor) else type(generated).__name__
        raise TeacherError(f"Expected {name} to return a float tensor of images, got {found}.")
    if tuple(generated.shape) != tuple(shape):
        raise TeacherError(
            f"Expected {name} to return images shaped {tuple(shape)} as the real ones, got {tuple(generated.shape)}."
        )
    if not _all_finite(generated):
        raise TeacherError(
            f"Expected {name} to return finite images, got NaN or infinite values. Lower the teacher's learning rate."
        )


def _all_finite(images: Tensor) -> bool:
    # A sum passes NaN and infinity on, in a third of the time; where finite numbers overflow it, each is looked at.
    return bool(torch.isfinite(images.detach().sum())) or bool(torch.isfinite(images).all())
