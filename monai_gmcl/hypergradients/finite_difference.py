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

__all__ = ["FiniteDifferenceHypergradient"]

LONGEST = 0.02
"""Relative step beyond which the student's curvature costs more than bfloat16's rounding: cosine .964 at .1."""


class FiniteDifferenceHypergradient(Hypergradient):
    """Hypergradient as a difference of two input gradients, at θ and at ``θ + ε A·v``.

    No second derivative is taken and memory stays that of a plain pass. The direction is wrong where the student has
    kinks between the two points (ReLU, max pooling); on smooth students the error is of the order of ε.

    Args:
        relative_step: length of ``ε A·v`` as a fraction of the length of θ. Default: the square root of the machine
            precision of the student's outputs, .02 at most: that is where mixed precision needs it.
    """

    replays = True

    def __init__(self, relative_step: float | None = None) -> None:
        self.relative_step = relative_step

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        replay, images, losses, weights = lesson.replay, lesson.images, lesson.losses, lesson.weights
        assert replay is not None and images is not None and losses is not None and weights is not None
        learned = lesson.learned(look_ahead)
        length = _norm(learned)
        if length == 0:
            return torch.zeros_like(images), torch.zeros_like(losses)
        precision = images.dtype if lesson.outputs is None else lesson.outputs.dtype
        relative = self.relative_step or min(torch.finfo(precision).eps ** 0.5, LONGEST)
        step = relative * _norm({name: lesson.parameters[name] for name in learned}) / length
        (here,) = torch.autograd.grad((weights * losses).sum(), images, retain_graph=True)
        moved = {name: value.detach() for name, value in lesson.parameters.items()}
        moved.update({name: moved[name] + step * direction for name, direction in learned.items()})
        leaf = images.detach().requires_grad_()
        moved_losses = replay(moved, leaf)
        (there,) = torch.autograd.grad((weights * moved_losses).sum(), leaf)
        return (there - here) / (-len(lesson) * step), (moved_losses - losses).detach() / step


def _norm(tensors: Mapping[str, Tensor]) -> Tensor:
    norm: Tensor = torch.stack([t.detach().norm() for t in tensors.values()]).norm()
    return norm
