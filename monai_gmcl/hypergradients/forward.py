# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient by forward-over-reverse differentiation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["ForwardHypergradient"]


class ForwardHypergradient(Hypergradient):
    """The same value as :class:`ExactHypergradient`, by forward-over-reverse differentiation.

    The input gradient ``∇x Σᵢ ωᵢ ℓᵢ(θ)`` is differentiated in forward mode along ``A·v``. No second-order graph is
    kept, so that less memory is needed. The student's layers must support forward-mode derivatives.
    """

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        direction = lesson.update_direction(look_ahead)
        fixed = {name: value.detach() for name, value in lesson.parameters.items()}

        def image_gradient(moving: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            def weighted_loss(x: Tensor) -> tuple[Tensor, Tensor]:
                losses = lesson.replay({**fixed, **moving}, x)
                return (lesson.weights * losses).sum(), losses

            gradient, losses = torch.func.grad(weighted_loss, has_aux=True)(lesson.images.detach())
            return gradient, losses

        start = {name: fixed[name] for name in direction}
        tangents = torch.func.jvp(image_gradient, (start,), (direction,))[1]
        hypergradient, scores = tangents
        return hypergradient.detach() / -len(lesson), scores.detach()

    def image_scores(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        """Return sᵢ ``(n,)`` by one pass with forward-mode differentiation."""
        direction = lesson.update_direction(look_ahead)
        fixed = {name: value.detach() for name, value in lesson.parameters.items()}

        def losses(moving: dict[str, Tensor]) -> Tensor:
            return lesson.replay({**fixed, **moving}, lesson.images.detach())

        start = {name: fixed[name] for name in direction}
        scores: Tensor = torch.func.jvp(losses, (start,), (direction,))[1]
        return scores.detach()
