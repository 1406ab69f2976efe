# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["ExactHypergradient"]


class ExactHypergradient(Hypergradient):
    """One-step hypergradient through the whole student, by double backward.

    ``Σᵢ ωᵢ sᵢ = ⟨∇θ Σᵢ ωᵢ ℓᵢ, A·v⟩`` is built with a graph on the lesson's standing pass; its derivative by the images
    is the hypergradient, its derivative by ωᵢ is sᵢ. The student must be twice differentiable
    (``use_flash_attention=False`` for MONAI's transformers).
    """

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        losses, images = lesson.losses, lesson.images
        assert losses is not None and images is not None and lesson.weights is not None
        learned = lesson.learned(look_ahead)
        weights = lesson.weights.detach().requires_grad_()
        parameters = [lesson.parameters[name] for name in learned]
        gradients = torch.autograd.grad(
            (weights * losses).sum(), parameters, create_graph=True, allow_unused=True, materialize_grads=True
        )
        total = torch.stack([(g * d).sum() for g, d in zip(gradients, learned.values(), strict=True)]).sum()
        image_gradient, worth = torch.autograd.grad(
            total, (images, weights), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return image_gradient / -len(lesson), worth
