# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.engines.checks import check_generated
from monai_gmcl.engines.student_pass import seeded
from monai_gmcl.lesson import Lesson
from monai_gmcl.tasks import labels_for_teacher

__all__ = ["TeacherPass"]


class TeacherPass:
    """The teacher makes the images of a lesson.

    Args:
        teacher: a module ``(images | None, labels, latents, difficulty) -> images``.
        learns: whether its derivatives are wanted.
        device: where lessons live.
    """

    def __init__(self, teacher: nn.Module, learns: bool, device: torch.device) -> None:
        self.teacher = teacher
        self.learns = learns
        self.device = device

    def take(self, lesson: Lesson) -> None:
        """Make the images. A teacher that does not learn keeps its running statistics, too.

        Raises:
            TeacherError: the teacher changes the shape, or gives numbers that are not finite.
        """
        if self.learns:
            self._make(lesson, self.teacher)
        else:
            self.repeat(lesson)

    def repeat(self, lesson: Lesson) -> None:
        """Make the same bits once more; the teacher's running statistics do not count the lesson again."""
        buffers = {name: buffer.clone() for name, buffer in self.teacher.named_buffers()}
        self._make(lesson, lambda *args: torch.func.functional_call(self.teacher, buffers, args))

    def _make(self, lesson: Lesson, teacher: Callable[..., Any]) -> None:
        self.teacher.train()
        with torch.set_grad_enabled(self.learns), seeded(lesson.seed, self.device):
            parts = [self._part(lesson, teacher, *part) for part in lesson.parts()]
        lesson.generated = torch.cat(parts) if len(parts) > 1 else parts[0]

    def _part(self, lesson: Lesson, teacher: Callable[..., Any], part: slice, difficulty: float) -> Tensor:
        sources = None if lesson.sources is None else lesson.sources[part]
        labels = lesson.labels[part]
        generated: Tensor = teacher(sources, labels_for_teacher(labels), lesson.latents[part], difficulty)
        check_generated(generated, self.teacher, (len(labels), *lesson.image_shape[1:]))
        return generated
