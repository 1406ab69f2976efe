# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The teacher's part of a step: making the images of a lesson, and the update for earlier lessons."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_gmcl.engines.checks import check_generated, check_trained
from monai_gmcl.engines.student_pass import seeded
from monai_gmcl.exceptions import TeacherError
from monai_gmcl.hypergradients import ExactHypergradient, HeadHypergradient, Hypergradient
from monai_gmcl.labels import are_masks, labels_for_teacher
from monai_gmcl.late_reading import LateReading, Read, at_once
from monai_gmcl.lesson import Lesson
from monai_gmcl.ranks import Ranks
from monai_gmcl.teachers.base import draw_latents

__all__ = ["PendingLessons", "TeacherPass", "TeacherStep"]

logger = logging.getLogger(__name__)


class TeacherStep:
    """One step of the teacher, for its last lessons.

    The gradient with respect to the images is the hypergradient divided by its norm, minus β times the gradient of the
    student's loss divided by its norm. Without this division, gradients would be smaller than Adam's ε after the
    student has fitted its images. A term with norm 0 is left out.

    Attributes:
        skipped: number of steps skipped because of a non-finite gradient.
        gradient_norm: norm of the last finite gradient of the teacher's parameters; a tensor on the device if the
            device is read late.
    """

    def __init__(self, teacher: nn.Module, optimizer: Optimizer, ranks: Ranks, late: LateReading | None = None) -> None:
        owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
        trained = [p for p in teacher.parameters() if id(p) in owned]
        check_trained(trained, optimizer, teacher, "teacher_optimizer")
        self.teacher = teacher
        self.optimizer = optimizer
        self.ranks = ranks
        self.late = LateReading(torch.device("cpu")) if late is None else late
        self.skipped = 0
        self.gradient_norm: float | Tensor = 0.0

    def __call__(
        self, hypergradient: Hypergradient, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor], hardness: float
    ) -> bool:
        """Step on as many lessons as the estimator needs, oldest first; return False without a finite gradient.

        If the device is read late, a non-finite gradient is replaced by zeros.
        """
        generated = [lesson.generated for lesson in lessons]
        if not all(images.requires_grad for images in generated):
            # At difficulty 0, the images equal the sources.
            return False
        signal, scores = self._signal(hypergradient, lessons, look_ahead, hardness)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]
        gradients: list[Tensor | None] = [None] * len(parameters)
        # One lesson after the other: autograd adds gradients in the order of graph construction, which differs in a
        # resumed run.
        for images, part in zip(generated, torch.split(signal, [len(g) for g in generated]), strict=True):
            _accumulate(gradients, torch.autograd.grad(images, parameters, part, allow_unused=True))
        self._add_choices(gradients, parameters, lessons, scores)
        self.ranks.all_reduce([g for g in gradients if g is not None])
        norm = _norm([g for g in gradients if g is not None], signal)
        # The gradient of the images is checked, too, because a clamp in the teacher stops NaN.
        finite = self.ranks.all_gather(torch.isfinite(signal).all()).all() & torch.isfinite(norm)
        self.late.check(finite, self._count_skipped)
        if not self.late.is_at_once:
            gradients = [None if g is None else torch.where(finite, g, torch.zeros_like(g)) for g in gradients]
            self.gradient_norm = torch.where(finite, norm, self.gradient_norm)
        elif finite:
            self.gradient_norm = float(norm)
        else:
            return False
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return True

    def _count_skipped(self, finite: Tensor) -> None:
        if not finite:
            self.skipped += 1
            logger.warning("The teacher's gradient is not finite. Its step was skipped (%d so far).", self.skipped)

    def state_dict(self) -> dict[str, Any]:
        """Return counters and logged values; the optimizer is saved separately."""
        return {"skipped": self.skipped, "gradient_norm": float(self.gradient_norm)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.skipped, self.gradient_norm = state["skipped"], state["gradient_norm"]

    def _add_choices(
        self, gradients: list[Tensor | None], parameters: list[Tensor], lessons: Sequence[Lesson], scores: Tensor
    ) -> None:
        """Add the gradient of the probabilities of choices, such as flips: ``-Σ sᵢ ∂ log p(choices of image i)``.

        The mean of sᵢ is subtracted, which reduces the variance without a bias. Then sᵢ is divided by its norm.
        """
        log_probability = getattr(self.teacher, "choice_log_probability", None)
        if log_probability is None:
            return
        weights = torch.cat([lesson.weights for lesson in lessons])
        everyone = self.ranks.all_gather(torch.stack([weights * scores, weights], 1))
        scores = self._unit(weights * scores - weights * everyone[:, 0].sum() / everyone[:, 1].sum().clamp_min(1e-12))
        for lesson, own in zip(lessons, torch.split(scores, [len(lesson) for lesson in lessons]), strict=True):
            for part, difficulty in lesson.parts():
                chosen = log_probability(lesson.latents[part], lesson.image_shape[1:], difficulty)
                if not chosen.requires_grad:
                    # The teacher has no learned probabilities.
                    return
                _accumulate(gradients, torch.autograd.grad(chosen, parameters, -own[part], allow_unused=True))

    def _signal(
        self, estimate: Hypergradient, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor], hardness: float
    ) -> tuple[Tensor, Tensor]:
        hypergradient, scores = estimate(lessons, look_ahead)
        if not self.ranks.alone:
            weights = torch.cat([hypergradient.new_full((len(lesson),), lesson.rank_weight) for lesson in lessons])
            hypergradient = hypergradient * weights.view(-1, *[1] * (hypergradient.ndim - 1))
        signal = self._unit(hypergradient)
        hard = [lesson.image_gradient for lesson in lessons if lesson.image_gradient is not None]
        if hardness > 0 and len(hard) == len(lessons):
            signal = signal - hardness * self._unit(torch.cat(hard))
        return signal, scores

    def _unit(self, gradient: Tensor) -> Tensor:
        """Divide by the norm, computed over the images of all ranks."""
        norms = self.ranks.all_gather(gradient.norm())
        norm = norms if self.ranks.alone else norms.norm()
        # Decided on the device, so that the host does not wait for the norm.
        return torch.where(norm == 0, torch.zeros_like(gradient), gradient / norm)


def _accumulate(gradients: list[Tensor | None], added: Sequence[Tensor | None]) -> None:
    for k, gradient in enumerate(added):
        before = gradients[k]
        if gradient is not None:
            gradients[k] = gradient if before is None else before + gradient


def _norm(gradients: Sequence[Tensor], like: Tensor) -> Tensor:
    if not gradients:
        return like.new_zeros(())
    norm: Tensor = torch.stack([g.norm() for g in gradients]).norm()
    return norm


class TeacherPass:
    """Calls the teacher to make the images of a lesson and to move their masks.

    If the teacher has ``change_labels``, this method moves masks; otherwise masks do not change.
    """

    def __init__(self, teacher: nn.Module, learns: bool, device: torch.device, read: Read = at_once) -> None:
        self.teacher = teacher
        self.learns = learns
        self.device = device
        self.read = read

    def generate(self, lesson: Lesson) -> Tensor:
        """Return the images ``(n, C, ...)``. The running statistics of a frozen teacher do not change."""
        return self._make(lesson, self.teacher) if self.learns else self.generate_again(lesson)

    def generate_again(self, lesson: Lesson) -> Tensor:
        """Return the same images again, bit for bit, without another update of the teacher's running statistics."""
        buffers = {name: buffer.clone() for name, buffer in self.teacher.named_buffers()}
        return self._make(lesson, lambda *args: torch.func.functional_call(self.teacher, buffers, args))

    @torch.no_grad()
    def _move_masks(self, lesson: Lesson) -> None:
        change = getattr(self.teacher, "change_labels", None)
        if lesson.source_labels is not None or not are_masks(lesson.labels) or change is None:
            return
        lesson.source_labels = lesson.labels
        moved = [change(lesson.labels[part], lesson.latents[part], difficulty) for part, difficulty in lesson.parts()]
        lesson.labels = torch.cat(moved)
        if lesson.labels.shape != lesson.source_labels.shape:
            raise TeacherError(
                f"Expected {type(self.teacher).__name__}.change_labels to return masks shaped "
                f"{tuple(lesson.source_labels.shape)} as the given masks, got {tuple(lesson.labels.shape)}."
            )

    def _make(self, lesson: Lesson, teacher: Callable[..., Any]) -> Tensor:
        self._move_masks(lesson)
        self.teacher.train()
        with torch.set_grad_enabled(self.learns), seeded(lesson.seed, self.device):
            parts = [self._part(lesson, teacher, *part) for part in lesson.parts()]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _part(self, lesson: Lesson, teacher: Callable[..., Any], part: slice, difficulty: float) -> Tensor:
        sources = None if lesson.sources is None else lesson.sources[part]
        labels = (lesson.labels if lesson.source_labels is None else lesson.source_labels)[part]
        generated: Tensor = teacher(sources, labels_for_teacher(labels), lesson.latents[part], difficulty)
        check_generated(generated, self.teacher, (len(labels), *lesson.image_shape[1:]), self.read)
        return generated


class PendingLessons:
    """The lessons for which the teacher has not been updated yet. They are kept across epochs and in checkpoints.

    ``teach`` computes the graph of a lesson: the teacher's images and the student's pass on them. ``dropped`` is the
    number of lessons that were dropped without an update of the teacher.
    """

    def __init__(
        self,
        hypergradient: Hypergradient | None,
        interval: int,
        teacher: nn.Module,
        teach: Callable[[Lesson], None],
        device: torch.device,
    ) -> None:
        self.is_default = hypergradient is None
        self._hypergradient = HeadHypergradient() if hypergradient is None else hypergradient
        self.interval = interval
        self.teacher = teacher
        self.teach = teach
        self.device = device
        self.dropped = 0
        self._lessons: list[Lesson] = []

    @property
    def hypergradient(self) -> Hypergradient:
        """The estimator. Setting another estimator drops the pending lessons, because they lack its data."""
        return self._hypergradient

    @hypergradient.setter
    def hypergradient(self, hypergradient: Hypergradient) -> None:
        self._hypergradient, self.is_default = hypergradient, False
        self.drop()

    def are_due(self, steps: int) -> bool:
        """Whether the teacher is updated after this number of student steps."""
        return len(self._lessons) > 0 and steps % self.interval == 0

    def would_keep(self, steps: int) -> bool:
        """Whether a lesson made now will update the teacher: the next step is within the estimator's lookback."""
        return self.interval - steps % self.interval <= self.hypergradient.lookback

    def add(self, lesson: Lesson) -> None:
        """Keep a lesson. Remove the oldest lesson, and lessons in which the student trained other parameters."""
        alike = [one for one in self._lessons if one.parameters.keys() == lesson.parameters.keys()]
        self._lessons = [*alike, lesson][-self.hypergradient.lookback :]

    def clear(self) -> None:
        """Forget all."""
        self._lessons = []

    def drop(self) -> None:
        """Remove all lessons, and count them as dropped."""
        self.dropped += len(self._lessons)
        self.clear()

    def __len__(self) -> int:
        return len(self._lessons)

    def with_graphs(self) -> Sequence[Lesson]:
        """Return the lessons, oldest first, each with its graph."""
        for lesson in self._lessons:
            if lesson.graph is None:
                # A loaded lesson: the teacher has not changed since, so that the graph is the same.
                self.teach(lesson)
        return self._lessons

    @property
    def _estimator(self) -> list[Any]:
        return [type(self.hypergradient).__name__, self.hypergradient.lookback]

    def state_dict(self) -> dict[str, Any]:
        """Return the records of all lessons."""
        return {
            "pending": {"lessons": [lesson.record() for lesson in self._lessons]},
            "hypergradient": self._estimator,
            "dropped_lessons": self.dropped,
        }

    def load_state_dict(self, state: Mapping[str, Any], alone: bool) -> None:
        """Restore a saved state. Graphs are computed again when they are needed, after student and teacher are loaded.

        Lessons with latents of another size are dropped with a warning: they belong to an earlier version or another
        teacher, and their images cannot be made again. If several ranks saved the state, the lessons are those of the
        first.
        """
        self.dropped = state["dropped_lessons"]
        if self.is_default and state["hypergradient"] == [ExactHypergradient.__name__, 1]:
            # The student has no head.
            self.hypergradient = ExactHypergradient()
        if not alone or state["hypergradient"] != self._estimator:
            # The estimator has changed, and these lessons lack the data that it needs.
            return
        self._lessons = [Lesson.from_record(record, self.device) for record in state["pending"]["lessons"]]
        for lesson in self._lessons:
            found, expected = tuple(lesson.latents.shape), self._latent_shape(lesson)
            if found != expected:
                logger.warning(
                    "The state has %d lesson(s) with latents %s, and %s draws latents %s. They are of an earlier "
                    "version or another teacher and are dropped. The teacher is updated again from the next lesson on.",
                    *(len(self), found, type(self.teacher).__name__, expected),
                )
                return self.drop()

    def _latent_shape(self, lesson: Lesson) -> tuple[int, ...]:
        # A separate generator, so that the random numbers of the run do not change.
        return tuple(draw_latents(self.teacher, len(lesson), lesson.image_shape[1:], torch.Generator()).shape)
