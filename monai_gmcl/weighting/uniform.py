# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The same weight for every image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from monai_gmcl.lesson import Lesson
from monai_gmcl.weighting.base import LessonWeighting

__all__ = ["UniformWeighting"]


class UniformWeighting(LessonWeighting):
    """The weight 1 for every image."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        return torch.ones_like(lesson.losses)
