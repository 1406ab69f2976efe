# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from monai_gmcl.lesson import Lesson
from monai_gmcl.teachers.base import draw_latents

__all__ = ["PendingLessons"]

logger = logging.getLogger(__name__)


class PendingLessons:
    """The lessons that the teacher has yet to hear about: they outlive the epoch and, as records, the process.

    Args:
        lookback: how many to keep, the latest.
        teacher: makes their images.
        teach: gives a lesson its graph: the teacher's images and the student's pass on them.
        device: where lessons live.
    """

    def __init__(
        self, lookback: int, teacher: nn.Module, teach: Callable[[Lesson], None], device: torch.device
    ) -> None:
        self.lookback = lookback
        self.teacher = teacher
        self.teach = teach
        self.device = device
        self._lessons: list[Lesson] = []

    def add(self, lesson: Lesson) -> None:
        """Keep a lesson; the oldest gives way, and so do those in which the student trained other parameters."""
        alike = [one for one in self._lessons if one.parameters.keys() == lesson.parameters.keys()]
        self._lessons = [*alike, lesson][-self.lookback :]

    def clear(self) -> None:
        """Forget all."""
        self._lessons = []

    def __len__(self) -> int:
        return len(self._lessons)

    def alive(self) -> Sequence[Lesson]:
        """Return the lessons, oldest first, each with its graph."""
        for lesson in self._lessons:
            if lesson.images is None:
                # Loaded: the teacher has not moved since, so the same graph comes out.
                self.teach(lesson)
        return self._lessons

    def state_dict(self) -> dict[str, Any]:
        """Return the records of all lessons."""
        return {"lessons": [lesson.record() for lesson in self._lessons]}

    def load_state_dict(self, state: Mapping[str, Any]) -> int:
        """Put back what was saved; graphs are rebuilt when they are needed, when student and teacher are loaded too.

        Returns:
            How many lessons were dropped, with a warning: their latents are not of the teacher's size, because an
            earlier version or another teacher drew them, and no image could be made of them again.
        """
        lessons = [Lesson.from_record(record, self.device) for record in state["lessons"]]
        for lesson in lessons:
            found, expected = tuple(lesson.latents.shape), self._latent_shape(lesson)
            if found != expected:
                logger.warning(
                    "This state holds %d lesson(s) with latents %s, where %s draws %s now: an earlier version, or "
                    "another teacher, drew them. They are dropped: the teacher hears of the next lesson first.",
                    *(len(lessons), found, type(self.teacher).__name__, expected),
                )
                self._lessons = []
                return len(lessons)
        self._lessons = lessons
        return 0

    def _latent_shape(self, lesson: Lesson) -> tuple[int, ...]:
        # A generator of its own: the run's random numbers stay as they are.
        return tuple(draw_latents(self.teacher, len(lesson), lesson.image_shape[1:], torch.Generator()).shape)
