# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights by the look-ahead: how much training on an image lowers the loss on real images."""

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
    """Weights each image of a lesson by its worth: how much training on it lowers the student's loss on real images.

    The worth sᵢ is the inner product of image i's gradient and A·v. v is the look-ahead gradient, and A the derivative
    of the optimizer's step. The weights are::

        ωᵢ = max(sᵢ, 0) / mean_j max(s_j, 0)

    The derivative of the look-ahead loss with respect to ωᵢ is -(w/n)·sᵢ. An image whose gradient opposes the gradient
    of the real images has the weight 0. Weights average to 1 over the lessons of all ranks, or are all 0 if no image
    helps. v is a running average of the gradients of real batches, or of batches of ``meta_data_loader``, including the
    current iteration's. A is that of the previous step, so that the weights are known before the step in which they are
    used. The rule is that of Ren et al., ICML 2018 (arXiv 1803.09050), with the optimizer's step and a running average
    in place of a plain gradient step and the gradient of one batch (``memory=0``). Use one object for each trainer.

    Args:
        hypergradient: the estimator of sᵢ. Default: :class:`FiniteDifferenceHypergradient`, through the whole student,
            with one additional pass without a graph: ``sᵢ = (ℓᵢ(θ + ε A·v) - ℓᵢ(θ)) / ε``. :class:`HeadHypergradient`
            needs no additional pass, but ignores the effect of an image on the features.
        memory: weight of the past in the running average, from 0 to below 1. The gradient of one batch of
            a few images is mostly noise. The newest batch never contains the sources of a lesson, but the running
            average contains their batches, and on a small data set soon all images. If images must be weighted by other
            images only, use ``memory=0`` or a ``meta_data_loader``.

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
            # Before the first step, A is unknown, and a stored average belongs to another run.
            self._average = {}
            return torch.ones_like(lesson.losses)
        read = {name: gradient for name, gradient in look_ahead.items() if name in update}
        # After an overflow of the loss scale, the step is skipped, and the average would stay infinite.
        finite = torch.isfinite(nn.utils.get_total_norm(read.values())).to(lesson.losses.device)
        self._average = {
            name: self._averaged(gradient, self._average.get(name), finite) for name, gradient in read.items()
        }
        helpful = self.hypergradient.image_scores(replace(lesson, update=dict(update)), self._average).clamp_min(0)
        mean = Ranks().all_gather(helpful).mean()
        return torch.where(finite & (mean > 0), helpful / mean, 0)

    def _averaged(self, gradient: Tensor, average: Tensor | None, finite: Tensor) -> Tensor:
        if average is None:
            return torch.where(finite, gradient, 0)
        return torch.lerp(torch.where(finite, gradient, average), average, self.memory)

    def state_dict(self) -> dict[str, Any]:
        """Return the running average of v, by parameter name."""
        return {"average": {name: value.clone() for name, value in self._average.items()}}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore a saved state; the state of another weighting is ignored."""
        self._average = {name: value.to(device) for name, value in state.get("average", {}).items()}
