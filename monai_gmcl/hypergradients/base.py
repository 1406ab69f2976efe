# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Interface of the estimators of the hypergradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.attributes import Renamed, adopt_old_names
from monai_gmcl.lesson import HeadActivation, Lesson

__all__ = ["Hypergradient"]


class Hypergradient(ABC):
    """Estimator of the hypergradient: the derivative of the look-ahead loss L(θ') with respect to lesson images.

    The look-ahead loss is the student's loss on the next real batch, after the step on a lesson. Its gradient with
    respect to the student's parameters is v. A is the derivative of the optimizer's step with respect to its gradient,
    and ``ℓᵢ`` the student's loss on lesson image i before the step. The worth sᵢ of image i, and the derivatives with
    respect to the lesson's images x and weights ω, are::

        sᵢ = ⟨∇θ ℓᵢ(θ), A·v⟩
        ∂L(θ')/∂x = -(w/n) ∂/∂x Σᵢ ωᵢ sᵢ        ∂L(θ')/∂ωᵢ = -(w/n) sᵢ

    All estimators return this for w = 1; the engine multiplies by the lesson weight w.

    Attributes:
        lookback: number of past lessons that the estimator uses. The teacher must not change between these lessons.
        needs_real_step: whether lessons must also store the real part of the student's step (:class:`RealStep`).
        own_passes: whether the estimator runs the student itself, with other parameters.
        works_with_sync_batchnorm: whether the hypergradient needs no second backward pass through the whole student.
        weighs_with_sync_batchnorm: whether :meth:`image_scores` needs no such pass.
    """

    lookback: int = 1
    needs_real_step: bool = False
    own_passes: bool = True
    works_with_sync_batchnorm: bool = False
    weighs_with_sync_batchnorm: bool = False

    watch = Renamed("record_head")
    reads = Renamed("required_parameters")
    worth = Renamed("image_scores")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt_old_names(cls)

    @classmethod
    def of_one_step(cls) -> Hypergradient:
        """Return a one-step estimator of the same kind, with default arguments."""
        return cls()

    def record_head(self, network: nn.Module, trained: Sequence[str]) -> AbstractContextManager[list[HeadActivation]]:
        """Record activations in the student's pass on a lesson, in a list from which :meth:`choose` selects one."""
        return nullcontext([])

    def choose(self, seen: Sequence[HeadActivation], outputs: Tensor, losses: Tensor) -> HeadActivation | None:
        """Return the activation to keep with the lesson, or None.

        Args:
            seen: the activations that :meth:`record_head` recorded, in the order of the pass.
            outputs: the student's outputs ``(n, K, ...)``, with the graph of the pass.
            losses: the losses of the images ``(n,)``, with the graph of the pass.
        """
        return None

    def required_parameters(self, lesson: Lesson) -> Collection[str]:
        """Return the names of the parameters for which the estimator needs A; the engine keeps A for these only."""
        return lesson.parameters

    @abstractmethod
    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Estimate the hypergradient.

        Args:
            lessons: the last ``lookback`` lessons with their graphs, oldest first.
            look_ahead: v by parameter name, the gradient of the look-ahead loss after the last lesson.

        Returns:
            ``∂L/∂x`` for w = 1, for the images of all lessons joined along the batch, and sᵢ ``(n,)``.
        """

    def image_scores(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        """Return sᵢ ``(n,)`` of one lesson. The result does not depend on the weights ω."""
        return self([replace(lesson, weights=torch.ones_like(lesson.losses))], look_ahead)[1].detach()
