# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The look-ahead gradient, which updates the teacher, and the image weights that are computed from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from monai_gmcl.engines.batches import CyclingLoader, RealBatch
from monai_gmcl.engines.checks import check_lesson
from monai_gmcl.engines.student_pass import StudentPass
from monai_gmcl.engines.student_step import StudentStep
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.lesson import Lesson
from monai_gmcl.weighting import LessonWeighting

__all__ = ["LookAhead"]


class LookAhead:
    """Computes the look-ahead gradient v: ∇θ of the student's loss on real images after a lesson.

    By default, these are the real images of the current iteration, whose gradient the student's step needs anyway. With
    a loader of meta images, on which the student is not trained, v costs one additional pass of the student.
    ``gradient`` is v, unscaled, by parameter name; empty after the student's step.
    """

    def __init__(
        self,
        weighting: LessonWeighting,
        student: StudentPass,
        student_step: StudentStep,
        meta_batches: CyclingLoader | None,
        prepare: Callable[[Any], RealBatch],
        read: Read = at_once,
    ) -> None:
        self.weighting = weighting
        self.student = student
        self.student_step = student_step
        self.meta_batches = meta_batches
        self.prepare = prepare
        self.read = read
        self.ranks = student_step.ranks
        self.gradient: dict[str, Tensor] = {}

    @property
    def weighs_by_this_batch(self) -> bool:
        """Whether lessons are weighted by the gradient of the real images of the same iteration."""
        return self.weighting.hypergradient is not None and self.meta_batches is None

    def compute(self, updates_teacher: bool) -> None:
        """Compute v, after the student's pass on real images and before its step.

        If v is not needed, to update the teacher or to weigh, no meta images are drawn and ranks exchange nothing.
        """
        if not updates_teacher and self.weighting.hypergradient is None:
            self.gradient = self.student_step.real_gradient()
        elif self.meta_batches is None:
            self.student_step.share_look_ahead()
            self.gradient = self.student_step.real_gradient()
        else:
            self.gradient = self._meta_gradient(self.prepare(next(self.meta_batches)))

    def _meta_gradient(self, meta: RealBatch) -> dict[str, Tensor]:
        parameters = self.student.copy_parameters(self.student_step.names)
        buffers = self.student.copy_buffers()
        _, losses = self.student(parameters, buffers, meta.images, meta.labels, meta.seed, meta.args, meta.kwargs)
        rank_weight = self.ranks.rank_weight(len(losses), sum(self.ranks.lengths(len(losses))))
        found = self.student.gradient(parameters, buffers, losses.mean() * rank_weight)
        self.ranks.average(list(found.values()))
        return found

    def weigh(self, lesson: Lesson, unlabeled_weight: float) -> Tensor:
        """Return the weight of each image of a lesson ``(n,)``; NonFiniteLossError if it, or a loss, is not finite."""
        weights = self.weighting(lesson, self.gradient, self.student_step.update).detach().clone()
        weights[lesson.num_labeled :] *= unlabeled_weight
        if lesson.sure_share is not None:
            weights *= lesson.sure_share
        check_lesson(lesson.losses, weights, self.read)
        return weights

    def forget(self) -> None:
        """Delete v, because the student's step changes the tensors from which v is read."""
        self.gradient = {}

    def state_dict(self) -> dict[str, int] | None:
        """Return the position in the meta images."""
        return None if self.meta_batches is None else self.meta_batches.state_dict()

    def load_state_dict(self, state: Mapping[str, int] | None, seed: int) -> None:
        """Restore a saved state."""
        if self.meta_batches is not None and state is not None:
            self.meta_batches.seed = seed
            self.meta_batches.load_state_dict(dict(state))
