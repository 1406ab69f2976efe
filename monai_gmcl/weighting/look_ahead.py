# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights by how much learning from an image would help on real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import FiniteDifferenceHypergradient, Hypergradient
from monai_gmcl.lesson import Lesson
from monai_gmcl.ranks import Ranks
from monai_gmcl.weighting.base import LessonWeighting

__all__ = ["LookAheadWeighting"]


class LookAheadWeighting(LessonWeighting):
    """Images count by how much learning from them would help the student on real images.

    With sᵢ, the inner product of image i's gradient and the look-ahead gradient v taken through the optimizer's step::

        ωᵢ = max(sᵢ, 0) / mean_j max(s_j, 0)

    -(w/n)·sᵢ is the derivative of the look-ahead loss by ωᵢ: an image whose gradient opposes that of the real images is
    left out. Weights average to 1 over the lessons of all ranks, or are all 0 where no image helps. v is a running
    average of real gradients (or the meta batches') up to this iteration's, and A that of the previous step, so that
    the weights are known before the step that they weigh. The rule is that of Ren et al., ICML 2018 (arXiv 1803.09050),
    which takes a plain gradient step and the gradient of one batch; that is ``memory=0``. One for each trainer.

    Args:
        hypergradient: the estimator of sᵢ. Default: :class:`FiniteDifferenceHypergradient`, of the whole student, by
            one pass more without a graph: ``sᵢ = (ℓᵢ(θ + ε A·v) - ℓᵢ(θ)) / ε``. :class:`HeadHypergradient` needs no
            pass, and says less: nothing of what an image does to the features.
        memory: share of the running average that stays at each step, from 0 to below 1. One batch of a few images says
            little of what helps the rest: its gradient is mostly noise. The newest batch never holds a lesson's
            sources, but the average holds batches that they came with, soon all of a small set. If images must be
            weighted by other images only: ``memory=0``, or a ``meta_data_loader``.

    Raises:
        ConfigurationError: ``memory`` outside its range.
    """

    def __init__(self, hypergradient: Hypergradient | None = None, memory: float = 0.9) -> None:
        if not 0 <= memory < 1:
            raise ConfigurationError(f"memory: expected at least 0 and below 1, got {memory}.")
        self.hypergradient: Hypergradient = FiniteDifferenceHypergradient() if hypergradient is None else hypergradient
        self.memory = memory
        self._average: dict[str, Tensor] = {}

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        if not update:
            # Before the first step nothing is known; what is remembered is another run's.
            self._average = {}
            return torch.ones_like(lesson.losses)
        read = {name: gradient for name, gradient in look_ahead.items() if name in update}
        if not torch.isfinite(nn.utils.get_total_norm(read.values())):
            # The loss scale overflowed: no step will be taken, and the average would never be finite again.
            return torch.zeros_like(lesson.losses)
        self._average = {
            name: torch.lerp(gradient, self._average.get(name, gradient), self.memory)
            for name, gradient in read.items()
        }
        helpful = self.hypergradient.image_scores(replace(lesson, update=dict(update)), self._average).clamp_min(0)
        mean = Ranks().all_gather(helpful).mean()
        return helpful / mean if mean > 0 else torch.zeros_like(helpful)

    def state_dict(self) -> dict[str, Any]:
        """Return the running average of v, by parameter name."""
        return {"average": {name: value.clone() for name, value in self._average.items()}}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Put back what was saved; of another weighting there is nothing."""
        self._average = {name: value.to(device) for name, value in state.get("average", {}).items()}
