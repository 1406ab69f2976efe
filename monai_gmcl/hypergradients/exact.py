# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient by double backward through the whole student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["ExactHypergradient"]


class ExactHypergradient(Hypergradient):
    """One-step hypergradient through the whole student, by double backward.

    ``Σᵢ ωᵢ sᵢ = ⟨∇θ Σᵢ ωᵢ ℓᵢ, A·v⟩`` (see :class:`Hypergradient`) is computed with a graph, on the graph of the
    student's pass on the lesson. Its derivative by the images is the hypergradient, and its derivative by ωᵢ is sᵢ. The
    student must be twice differentiable (``use_flash_attention=False`` for MONAI's transformers).
    """

    own_passes = False

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        direction = lesson.update_direction(look_ahead)
        weights = lesson.weights.detach().requires_grad_()
        parameters = [lesson.parameters[name] for name in direction]
        gradients = torch.autograd.grad(
            (weights * lesson.losses).sum(), parameters, create_graph=True, allow_unused=True, materialize_grads=True
        )
        total = torch.stack([(g * d).sum() for g, d in zip(gradients, direction.values(), strict=True)]).sum()
        image_gradient, scores = torch.autograd.grad(
            total, (lesson.images, weights), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return image_gradient / -len(lesson), scores
