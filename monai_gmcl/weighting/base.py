# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The weights of the images of a lesson."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["LessonWeighting"]


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
