# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from monai_gmcl.lesson import Lesson

__all__ = ["PendingLessons"]


class PendingLessons:
    """The lessons that the teacher has yet to hear about: they outlive the epoch and, as records, the process.

    Args:
        lookback: how many to keep, the latest.
        teach: gives a lesson its graph: the teacher's images and the student's pass on them.
        device: where lessons live.
    """

    def __init__(self, lookback: int, teach: Callable[[Lesson], None], device: torch.device) -> None:
        self.lookback = lookback
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

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what was saved; graphs are rebuilt when they are needed, when student and teacher are loaded too."""
        self._lessons = [Lesson.from_record(record, self.device) for record in state["lessons"]]
