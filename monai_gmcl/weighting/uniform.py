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

from collections.abc import Mapping

import torch
from torch import Tensor

from monai_gmcl.lesson import Lesson
from monai_gmcl.weighting.base import LessonWeighting

__all__ = ["UniformWeighting"]


class UniformWeighting(LessonWeighting):
    """Every image counts the same."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        assert lesson.losses is not None
        return torch.ones_like(lesson.losses)
