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
    """Weights each image of a lesson, from what is known before the student's step.

    Attributes:
        hypergradient: the estimator that the weights are read from, if any; the engine then keeps what it needs.
    """

    hypergradient: Hypergradient | None = None

    @abstractmethod
    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        """Return the weights of a lesson's images.

        Args:
            lesson: with the student's pass on it; its weights are not set yet.
            look_ahead: gradient of this iteration's real batch, or of the meta batch, by parameter name.
            update: A of the student's previous step, by parameter name; empty before the first.

        Returns:
            ω ``(n,)``, at least 0; 1 is the weight of an image in an unweighted lesson.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept from step to step, the same on all ranks, for a run to go on from."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:  # noqa: B027
        """Put back what was saved, on the trainer's device."""
