# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from monai_gmcl.engines.batches import EndlessBatches, RealBatch
from monai_gmcl.engines.student_pass import StudentPass
from monai_gmcl.engines.student_step import StudentStep
from monai_gmcl.ranks import Ranks

__all__ = ["LookAhead"]


class LookAhead:
    """The look-ahead gradient v, by which lessons are judged: ∇θ of the student's loss on images that come after them.

    By default those are the real images of this iteration, whose gradient is there anyway. A loader of meta images,
    which the student does not train on, costs one more pass of the student each time that v is read.

    Args:
        student: passes meta images.
        student_step: has the real gradient.
        meta_data_loader: labeled images for v; None for the real ones.
        prepare: the trainer's, from one of the loader's batches to its images and labels.
        seed: of the loader's order and transforms.
        ranks: the processes that train this student.

    Attributes:
        gradient: v, unscaled, by parameter name; empty after the student's step.
    """

    def __init__(
        self,
        student: StudentPass,
        student_step: StudentStep,
        meta_data_loader: Iterable[Any] | None,
        prepare: Callable[[Any], RealBatch],
        seed: int,
        ranks: Ranks,
    ) -> None:
        self.student = student
        self.student_step = student_step
        self.prepare = prepare
        self.ranks = ranks
        self.gradient: dict[str, Tensor] = {}
        self.meta_batches = None
        if meta_data_loader is not None:
            self.meta_batches = EndlessBatches(meta_data_loader, seed, "meta_data_loader")

    def take(self, read: bool) -> None:
        """Find v; after the student has looked at real images, before its step.

        Args:
            read: whether anything depends on v this time. If not, no meta images are drawn, and ranks do not share.
        """
        if not read:
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
        share = self.ranks.share(len(losses), len(self.ranks.joined(losses.detach())))
        found = self.student.gradient(parameters, buffers, losses.mean() * share)
        self.ranks.average(list(found.values()))
        return found

    def forget(self) -> None:
        """Let v go: the student's step changes the tensors that it is read from."""
        self.gradient = {}

    def state_dict(self) -> dict[str, int] | None:
        """Return the place in the meta images."""
        return None if self.meta_batches is None else self.meta_batches.state_dict()

    def load_state_dict(self, state: Mapping[str, int] | None, seed: int) -> None:
        """Put back what was saved."""
        if self.meta_batches is not None and state is not None:
            self.meta_batches.seed = seed
            self.meta_batches.load_state_dict(dict(state))
