# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["ForwardHypergradient"]


class ForwardHypergradient(Hypergradient):
    """The number of :class:`ExactHypergradient` by forward-over-reverse differentiation.

    The input gradient ``∇x Σᵢ ωᵢ ℓᵢ(θ)`` is differentiated forward along ``A·v``: no graph of second order is kept, so
    it needs less memory. The student's layers must have forward-mode derivatives.
    """

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        replay, images, weights = lesson.replay, lesson.images, lesson.weights
        assert replay is not None and images is not None and weights is not None
        learned = lesson.learned(look_ahead)
        fixed = {name: value.detach() for name, value in lesson.parameters.items()}

        def image_gradient(moving: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            def weighted_loss(x: Tensor) -> tuple[Tensor, Tensor]:
                losses = replay({**fixed, **moving}, x)
                return (weights * losses).sum(), losses

            gradient, losses = torch.func.grad(weighted_loss, has_aux=True)(images.detach())
            return gradient, losses

        start = {name: fixed[name] for name in learned}
        tangents = torch.func.jvp(image_gradient, (start,), (learned,))[1]
        hypergradient, worth = tangents
        return hypergradient.detach() / -len(lesson), worth.detach()

    def worth(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        """Return sᵢ ``(n,)`` by one pass, differentiated forward."""
        replay, images = lesson.replay, lesson.images
        assert replay is not None and images is not None
        learned = lesson.learned(look_ahead)
        fixed = {name: value.detach() for name, value in lesson.parameters.items()}

        def losses(moving: dict[str, Tensor]) -> Tensor:
            return replay({**fixed, **moving}, images.detach())

        start = {name: fixed[name] for name in learned}
        worth: Tensor = torch.func.jvp(losses, (start,), (learned,))[1]
        return worth.detach()
