# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The weights of the images of a lesson: the base class, equal weights, and weights by confidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["ConfidenceWeighting", "LessonWeighting", "UniformWeighting"]


class LessonWeighting(ABC):
    """Base class of weightings: a weight for each image of a lesson, computed before the student's step.

    Attributes:
        hypergradient: the estimator from which the weights are computed, if any; the engine stores the data that it
            needs.
    """

    hypergradient: Hypergradient | None = None

    @abstractmethod
    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        """Return the weights of a lesson's images.

        Args:
            lesson: the lesson, after the student's pass and before its weights are set.
            look_ahead: gradient of this iteration's real batch, or of the meta batch, by parameter name.
            update: A of the student's previous step, by parameter name; empty before the first step.

        Returns:
            ω ``(n,)``, at least 0; 1 is the weight of an image in an unweighted lesson.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming, which is equal on all ranks."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:  # noqa: B027
        """Restore a saved state, on the trainer's device."""


class UniformWeighting(LessonWeighting):
    """The weight 1 for every image."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        return torch.ones_like(lesson.losses)


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
