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

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from monai_gmcl.lesson import Lesson

__all__ = ["LessonWeighting", "UniformWeighting"]


class LessonWeighting(ABC):
    """Weights each image of a lesson, from what is known before the student's step.

    Attributes:
        needs_update: whether the weights are computed from A of the previous step.
    """

    needs_update: bool = False

    @abstractmethod
    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        """Weigh the images of a lesson.

        Args:
            lesson: with the student's pass on it; its weights are not set yet.
            look_ahead: gradient of this iteration's real batch, or of the meta batch, by parameter name.
            update: A of the student's previous step, by parameter name; empty before the first.

        Returns:
            ω ``(n,)``, at least 0; 1 is the weight of a real image times the lesson's.
        """


class UniformWeighting(LessonWeighting):
    """Every image counts the same."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        assert lesson.losses is not None
        return torch.ones_like(lesson.losses)
