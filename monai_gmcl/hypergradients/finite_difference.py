# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient as a difference of two input gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson

__all__ = ["FiniteDifferenceHypergradient"]

LONGEST = 0.02
"""Largest relative step; beyond it, curvature causes a larger error than rounding in bfloat16 (cosine .964 at .1)."""


class FiniteDifferenceHypergradient(Hypergradient):
    """Hypergradient as a finite difference of two input gradients, at θ and at ``θ + ε A·v``.

    No second derivative is computed, and the memory is that of an ordinary pass. The direction is wrong if the student
    is not differentiable between the two points (ReLU, max pooling). On smooth students the error is of the order of ε.

    Args:
        relative_step: length of ``ε A·v`` as a fraction of the length of θ. Default: the square root of the machine
            precision of the student's outputs, at most .02. Mixed precision reaches this limit.
    """

    weighs_with_sync_batchnorm = True

    def __init__(self, relative_step: float | None = None) -> None:
        self.relative_step = relative_step

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        images, losses, weights = lesson.images, lesson.losses, lesson.weights
        moved, step = self._moved(lesson, look_ahead)
        (here,) = torch.autograd.grad((weights * losses).sum(), images, retain_graph=True)
        leaf = images.detach().requires_grad_()
        moved_losses = lesson.replay(moved, leaf)
        (there,) = torch.autograd.grad((weights * moved_losses).sum(), leaf)
        return _over(there - here, -len(lesson) * step), _over((moved_losses - losses).detach(), step)

    def image_scores(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        """Return sᵢ ``(n,)`` by one pass without a graph.

        ReLU and max pooling cause no error here, because losses are continuous.
        """
        moved, step = self._moved(lesson, look_ahead)
        with torch.no_grad():
            return _over(lesson.replay(moved, lesson.images) - lesson.losses, step)

    def _moved(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the parameters at ``θ + ε A·v``, and ε, a number on their device; 0 if A·v is 0."""
        direction = lesson.update_direction(look_ahead)
        parameters = {name: value.detach() for name, value in lesson.parameters.items()}
        if not direction:
            return parameters, lesson.losses.new_zeros(())
        length = nn.utils.get_total_norm(direction.values())
        relative = self.relative_step or min(torch.finfo(lesson.outputs.dtype).eps ** 0.5, LONGEST)
        step = _over(relative * nn.utils.get_total_norm([parameters[name] for name in direction]), length)
        return parameters | {name: parameters[name] + step * way for name, way in direction.items()}, step


def _over(values: Tensor, divisor: Tensor) -> Tensor:
    """Return the quotient, or 0 if the divisor is 0, without making the host wait."""
    return torch.where(divisor == 0, 0, values / divisor)
