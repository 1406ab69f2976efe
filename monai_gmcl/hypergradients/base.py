# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What an estimator of the hypergradient gets, gives, and says about itself."""

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
    """What the images of past lessons were worth to the student, and the gradient that reaches them.

    With ``ℓᵢ`` the student's loss on image i before the step, A the derivative of the optimizer's step and v the
    look-ahead gradient after it::

        sᵢ = ⟨∇θ ℓᵢ(θ), A·v⟩
        ∂L(θ')/∂x = -(w/n) ∂/∂x Σᵢ ωᵢ sᵢ        ∂L(θ')/∂ωᵢ = -(w/n) sᵢ

    All estimators return this for w = 1; the engine scales it.

    Attributes:
        lookback: how many lessons of the past the estimator reads. The teacher stands still while they are set.
        needs_real_step: whether lessons must keep the rest of the student's step (:class:`RealStep`).
        own_passes: whether the estimator passes images through the student itself, with other parameters.
        works_with_sync_batchnorm: whether the hypergradient needs no second way back through the whole student.
        weighs_with_sync_batchnorm: whether :meth:`image_scores` needs none.
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
        """Return the estimator with its defaults, looking back over one lesson."""
        return cls()

    def record_head(self, network: nn.Module, trained: Sequence[str]) -> AbstractContextManager[list[HeadActivation]]:
        """Follow the student's pass on a lesson; of what is appended to the list, :meth:`choose` takes one."""
        return nullcontext([])

    def choose(self, seen: Sequence[HeadActivation], outputs: Tensor, losses: Tensor) -> HeadActivation | None:
        """Return what of the student's pass is kept with the lesson; None: nothing.

        Args:
            seen: what :meth:`record_head` has recorded, in the order in which it ran.
            outputs: the student's ``(n, K, ...)``, with the pass's graph.
            losses: of each image ``(n,)``, likewise.
        """
        return None

    def required_parameters(self, lesson: Lesson) -> Collection[str]:
        """Return the names of the parameters whose A the estimator reads; the engine keeps only those."""
        return lesson.parameters

    @abstractmethod
    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Estimate the hypergradient.

        Args:
            lessons: the last ``lookback`` lessons, oldest first, their graphs alive.
            look_ahead: v by parameter name, the gradient of the look-ahead loss after the last lesson.

        Returns:
            ``∂L/∂x`` for w = 1, shaped as the lessons' images joined along the batch, and sᵢ ``(n,)``.
        """

    def image_scores(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        """Return sᵢ ``(n,)`` of one lesson alone, whatever its weights."""
        return self([replace(lesson, weights=torch.ones_like(lesson.losses))], look_ahead)[1].detach()
