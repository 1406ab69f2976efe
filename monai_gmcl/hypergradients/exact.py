# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
