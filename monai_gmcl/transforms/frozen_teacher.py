# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A trained teacher for transforms."""

from __future__ import annotations

import copy
import itertools
import os
from numbers import Real
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError, LabelError, TeacherError
from monai_gmcl.labels import are_masks, checked_for_teacher
from monai_gmcl.teachers import Teacher, load_teacher
from monai_gmcl.teachers.base import draw_latents

__all__ = ["FrozenTeacher", "check_difficulty", "label_rows"]

UNKNOWN = -1
"""Class index of an image without a label; teachers that use labels raise an error for it."""


class FrozenTeacher:
    """A trained teacher for transforms: it is not trained further, and all randomness comes from a seed.

    The teacher is copied, in evaluation mode and without gradients. Later changes of the original, or of its device,
    have no effect. Copies of a transform share the copied teacher. The teacher is a module, or the path of a file of
    :func:`monai_gmcl.save_teacher`; otherwise ConfigurationError, or CheckpointError if the file cannot be read. For a
    plain module, only those attributes of a teacher that it has are checked.
    """

    def __init__(self, teacher: nn.Module | str | os.PathLike[str]) -> None:
        own: nn.Module
        if isinstance(teacher, str | os.PathLike):
            own = load_teacher(teacher)
        elif isinstance(teacher, nn.Module):
            own = copy.deepcopy(teacher)
            own.zero_grad(set_to_none=True)
        else:
            raise ConfigurationError(
                f"Expected a monai_gmcl.Teacher or the path of a teacher file, got a {type(teacher).__name__}."
            )
        self.module = own.cpu().float().eval().requires_grad_(False)
        self.name = type(own).__name__
        self.needs_images = bool(getattr(own, "needs_images", True))

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self

    def __call__(self, images: Tensor, labels: Tensor | None, seed: int, difficulty: float) -> Tensor:
        """Make synthetic images, of the same shape, type and device, with no autograd graph.

        Images are ``(B, C, H, W)`` or ``(B, C, D, H, W)`` of any real type, on the device of the computation. Labels
        are ``(B,)`` or ``(B, 1)`` integer classes, ``(B, K)`` float, or masks ``(B, K, *spatial)`` (see
        :meth:`change_masks`); None is accepted if the teacher does not use labels. The seed determines the latents: on
        one kind of device, the same seed gives the same images. The results have the shape, type and device of the
        images, and no autograd graph.

        Raises:
            ConfigurationError: images of other channels or dimensions.
            ImageRangeError: values outside the teacher's ``value_range``.
            LabelError: labels of another type or shape, outside the teacher's classes, or missing.
            TeacherError: the teacher returned images of another shape.
        """
        images = images.detach()
        if isinstance(self.module, Teacher):
            self.module.check_shape(images.shape[1:])
            self.module.check_range(images)
        if labels is not None and not are_masks(labels):
            labels = checked_for_teacher(labels, getattr(self.module, "num_classes", None))
        self._move(images.device)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            changed = self._run(images.float(), labels, self._latents(images, seed), difficulty)
        if changed.shape != images.shape:
            raise TeacherError(
                f"Expected {self.name} to return images shaped {tuple(images.shape)}, got {tuple(changed.shape)}."
            )
        whole_numbers = not images.dtype.is_floating_point
        return (changed.round() if whole_numbers else changed).to(images.dtype)

    def change_masks(self, masks: Tensor, images: Tensor, seed: int, difficulty: float) -> Tensor:
        """Move masks ``(B, K, *spatial)`` as a call with the same seed moves images ``(B, C, *spatial)``.

        Masks ``(B, *spatial)`` are returned in that shape. A plain module does not move masks. LabelError for masks of
        another size than the images; ConfigurationError for a teacher that cannot move masks.
        """
        if masks.shape[1:] == images.shape[2:]:
            return self.change_masks(masks[:, None], images, seed, difficulty).squeeze(1)
        if masks.shape[2:] != images.shape[2:]:
            raise LabelError(
                f"Expected masks (K, *spatial) of the images' size {tuple(images.shape[2:])}, got "
                f"{tuple(masks.shape[1:])}."
            )
        change = getattr(self.module, "change_labels", None)
        if change is None:
            return masks
        self._move(images.device)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            moved: Tensor = change(masks.detach(), self._latents(images, seed), difficulty)
        return moved

    def _latents(self, images: Tensor, seed: int) -> Tensor:
        generator = torch.Generator(device=images.device).manual_seed(seed)
        return draw_latents(self.module, len(images), images.shape[1:], generator).to(images.device)

    def _run(self, images: Tensor, labels: Tensor | None, latents: Tensor, difficulty: float) -> Tensor:
        if labels is not None:
            return self.module(images, labels, latents, difficulty)  # type: ignore[no-any-return]
        unknown = torch.full((len(images),), UNKNOWN, device=images.device)
        try:
            return self.module(images, unknown, latents, difficulty)  # type: ignore[no-any-return]
        except LabelError as error:
            raise LabelError(f"{self.name} needs labels, and this image has none.") from error

    def _move(self, device: torch.device) -> None:
        tensors = itertools.chain(self.module.parameters(), self.module.buffers())
        if any(tensor.device != device for tensor in itertools.islice(tensors, 1)):
            self.module.to(device)


def check_difficulty(difficulty: float | tuple[float, float]) -> tuple[float, float]:
    """Return a fixed difficulty, or a range ``0 <= low <= high``, as ``(low, high)``; else ConfigurationError."""
    ends = (difficulty, difficulty) if isinstance(difficulty, Real) else difficulty
    if (
        not isinstance(ends, tuple | list)
        or len(ends) != 2
        or not all(isinstance(end, Real) for end in ends)
        or not 0 <= ends[0] <= ends[1] < float("inf")
    ):
        raise ConfigurationError(
            f"difficulty must be a number of at least 0, or a range (low, high) of such numbers, got {difficulty!r}."
        )
    return float(ends[0]), float(ends[1])


def label_rows(label: Any) -> Tensor:
    """Return one image's label as a batch of one: ``(1,)`` for a class, ``(1, K)`` for float labels ``(K,)``.

    LabelError if it is not a number or an array of numbers.
    """
    try:
        rows = label.as_tensor() if isinstance(label, MetaTensor) else torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LabelError(f"Expected a label that is a number or an array of numbers, got {label!r}.") from error
    return rows.unsqueeze(0)
