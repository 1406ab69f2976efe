# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights by the confidence of proposed labels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.lesson import Lesson
from monai_gmcl.weighting.base import LessonWeighting

__all__ = ["ConfidenceWeighting"]


class ConfidenceWeighting(LessonWeighting):
    """Weight 1 for images whose proposed label has a confidence of ``threshold`` or more, otherwise 0 (FixMatch).

    ``ωᵢ = [confidenceᵢ ≥ threshold]``. Images with given labels always have the weight 1. Sohn et al. 2020, arXiv
    2001.07685.

    Args:
        threshold: 0 to 1.

    Raises:
        ConfigurationError: a threshold below 0 or above 1.
    """

    def __init__(self, threshold: float = 0.95) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigurationError(f"ConfidenceWeighting: threshold must be from 0 to 1, got {threshold}.")
        self.threshold = threshold

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        if lesson.confidence is None:
            return torch.ones_like(lesson.losses)
        return (lesson.confidence >= self.threshold).to(lesson.losses)
