# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Schedules of the weights r and w, hardness, difficulty and classes over the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["ClassSampler", "Competence", "Curriculum", "CurriculumValues", "LinearRamp", "Schedule"]

Schedule = float | Callable[[float], float]
"""A number, or a function of progress (0 at the start of the run, 1 at its end)."""


@dataclass(frozen=True)
class LinearRamp:
    """Linear ramp from ``first`` to ``last`` between two points of progress (0: start of the run, 1: its end).

    Attributes:
        first: value up to ``start``.
        last: value from ``end`` on.
        start: progress, 0 to 1.
        end: progress, above ``start``.
    """

    first: float
    last: float
    start: float = 0.0
    end: float = 1.0

    def __call__(self, progress: float) -> float:
        share = (progress - self.start) / max(self.end - self.start, 1e-12)
        return self.first + (self.last - self.first) * min(1.0, max(0.0, share))


class Competence:
    """Adapts the difficulty so that the student's accuracy on lessons stays ``gap`` below its accuracy on real images.

    ``difficulty ← difficulty · exp(rate · (gap - (accuracy on real images - accuracy on lessons)))``. Both accuracies
    are exponential running averages. Pacing by competence is an idea of Platanios et al. 2019 (arXiv 1903.09848); this
    rule is ours.

    A small data set is fitted within a few epochs. The accuracy on it is then too high to set the difficulty by. The
    accuracy on images that the student is not trained on can correct for that:
    :class:`monai_gmcl.handlers.UnseenAccuracy` passes it to :meth:`observe_unseen`. If the accuracy on real images
    exceeds the accuracy on unseen images by more than ``gap``, this difference replaces ``gap``, so that lessons become
    as hard as unseen images.

    Args:
        gap: distance of the two accuracies, 0 to 1.
        start: difficulty at the start.
        rate: speed of the adaptation, per student step.
        least: lowest difficulty.
        most: highest difficulty.
        memory: weight of the past in the averages, 0 to 1.
    """

    def __init__(
        self,
        gap: float = 0.1,
        start: float = 1.0,
        rate: float = 0.1,
        least: float = 0.05,
        most: float = 4.0,
        memory: float = 0.95,
    ) -> None:
        if not 0 < least <= start <= most:
            raise ConfigurationError(f"Competence: expected 0 < least <= start <= most, got {least}, {start}, {most}.")
        if not 0 <= memory < 1:
            raise ConfigurationError(f"Competence: memory must be at least 0 and below 1, got {memory}.")
        self.gap, self.rate, self.least, self.most, self.memory = gap, rate, least, most, memory
        self.difficulty = start
        self._average = {"real": 0.0, "lesson": 0.0}
        self._count = 0
        self._unseen: float | None = None

    def observe(self, real_accuracy: float, lesson_accuracy: float) -> None:
        """Update the averages and the difficulty with the accuracies of one student step."""
        self._count += 1
        for name, value in (("real", real_accuracy), ("lesson", lesson_accuracy)):
            self._average[name] = self.memory * self._average[name] + (1 - self.memory) * value
        real, lesson = (average / (1 - self.memory**self._count) for average in self._average.values())
        gap = self.gap if self._unseen is None else max(self.gap, real - self._unseen)
        moved = self.difficulty * math.exp(self.rate * (gap - (real - lesson)))
        self.difficulty = min(self.most, max(self.least, moved))

    def observe_unseen(self, accuracy: float) -> None:
        """Update the average accuracy on unseen images, 0 to 1; the newest value has the weight 1/2."""
        self._unseen = accuracy if self._unseen is None else (self._unseen + accuracy) / 2

    def state_dict(self) -> dict[str, Any]:
        """Return the difficulty and the averages."""
        own = {"difficulty": self.difficulty, "average": dict(self._average), "count": self._count}
        return {**own, "unseen": self._unseen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.difficulty, self._average, self._count = state["difficulty"], dict(state["average"]), state["count"]
        self._unseen = state["unseen"]


class ClassSampler:
    """Samples the classes of a lesson.

    Args:
        mode: ``"balanced"`` (all classes equally often), ``"data"`` (with the frequencies of the real images) or
            ``"errors"`` (balanced at first, then in proportion to the student's error rate on real images of the
            class).
        memory: weight of the past in the averaged error rates, 0 to 1.
    """

    MODES = ("balanced", "data", "errors")

    def __init__(self, mode: str = "balanced", memory: float = 0.95) -> None:
        if mode not in self.MODES:
            raise ConfigurationError(f"ClassSampler: mode must be one of {', '.join(self.MODES)}, got {mode!r}.")
        self.mode = mode
        self.memory = memory
        self._counts: dict[int, int] = {}
        self._errors: dict[int, float] = {}

    def observe(self, classes: Sequence[int], correct: Sequence[float]) -> None:
        """Update counts and error rates with the classes of real images and the correctness of each (0 to 1)."""
        for label, right in zip(classes, correct, strict=True):
            self._counts[label] = self._counts.get(label, 0) + 1
            self._errors[label] = self.memory * self._errors.get(label, 1.0) + (1 - self.memory) * (1 - right)

    def draw(self, n: int, classes: Sequence[int], generator: torch.Generator) -> Tensor:
        """Sample ``n`` classes, int64 ``(n,)``."""
        known: dict[str, Mapping[int, float]] = {"balanced": {}, "data": self._counts, "errors": self._errors}
        shares = known[self.mode]
        # Every class keeps a minimum probability; otherwise the student would forget classes without errors.
        weights = torch.tensor([max(float(shares.get(label, 1.0)), 1e-3) for label in classes], dtype=torch.float64)
        return torch.tensor(list(classes))[torch.multinomial(weights, n, replacement=True, generator=generator)]

    def state_dict(self) -> dict[str, Any]:
        """Return counts and error rates."""
        return {"counts": dict(self._counts), "errors": dict(self._errors)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._counts, self._errors = dict(state["counts"]), dict(state["errors"])


@dataclass(frozen=True)
class CurriculumValues:
    """The curriculum's values at one step; the names are those of :class:`Curriculum`'s arguments."""

    real_weight: float
    lesson_weight: float
    unlabeled_weight: float
    hardness: float
    difficulty: float
    unlabeled_difficulty: float

    def as_dict(self) -> dict[str, float]:
        """Return the values by name."""
        return asdict(self)


class Curriculum:
    """Schedules of the real weight r, the lesson weight w, hardness, difficulty and classes.

    Each schedule is a number, or a function of progress (0 at the start of the run, 1 at its end).

    Args:
        real_weight: r, weight of the gradient on real images, at least 0. By default below the lesson weight, because a
            small labeled set is fitted within a few epochs and its gradient then adds little.
        lesson_weight: w, weight of the gradient on the lesson, at least 0. No lesson is made while it is 0.
        unlabeled_weight: factor for the weights of lesson images with proposed labels; images with given labels have
            the factor 1. The weights are not normalized again: with a value above 1, the mean weight of a lesson
            exceeds 1. The batch size of the unlabeled loader sets the number of these images.
        hardness: β, how strongly the teacher's loss rewards images with a high student loss, at least 0. 0 is pure
            GMCL.
        difficulty: strength of the teacher's change: a schedule, or :class:`Competence` (the default).
        class_sampler: samples the classes of lessons; balanced by default.
        unlabeled_difficulty: factor on ``difficulty`` for lesson images with proposed labels. Use a value below 1 if
            the student is not yet trained on these images without changes.

    Raises:
        ConfigurationError: a schedule gives a negative or non-finite number.
    """

    def __init__(
        self,
        real_weight: Schedule = 0.5,
        lesson_weight: Schedule = 1.0,
        unlabeled_weight: Schedule = 1.0,
        hardness: Schedule = 0.0,
        difficulty: Schedule | Competence | None = None,
        class_sampler: ClassSampler | None = None,
        unlabeled_difficulty: Schedule = 1.0,
    ) -> None:
        self.schedules: dict[str, Schedule] = {
            "real_weight": real_weight,
            "lesson_weight": lesson_weight,
            "unlabeled_weight": unlabeled_weight,
            "hardness": hardness,
            "unlabeled_difficulty": unlabeled_difficulty,
        }
        self.difficulty: Schedule | Competence = Competence() if difficulty is None else difficulty
        self.class_sampler = ClassSampler() if class_sampler is None else class_sampler
        self.at(0.0)

    def at(self, progress: float) -> CurriculumValues:
        """Return the values at a point of progress, 0 to 1."""
        difficulty = self.difficulty
        schedules = {
            **self.schedules,
            "difficulty": difficulty.difficulty if isinstance(difficulty, Competence) else difficulty,
        }
        values = {name: float(s(progress)) if callable(s) else float(s) for name, s in schedules.items()}
        for name, value in values.items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(
                    f"Curriculum: {name} must be at least 0, got {value} at progress {progress:g}."
                )
        return CurriculumValues(**values)

    def observe(self, real_accuracy: float, lesson_accuracy: float) -> None:
        """Update :class:`Competence` with the student's accuracies on the real images and on the lesson of one step."""
        if isinstance(self.difficulty, Competence):
            self.difficulty.observe(real_accuracy, lesson_accuracy)

    def observe_unseen(self, accuracy: float) -> None:
        """Update :class:`Competence` with the student's accuracy on images that it is not trained on."""
        if isinstance(self.difficulty, Competence):
            self.difficulty.observe_unseen(accuracy)

    def state_dict(self) -> dict[str, Any]:
        """Return what changes during the run: the difficulty of :class:`Competence`, and the class sampler's counts."""
        state: dict[str, Any] = {"class_sampler": self.class_sampler.state_dict()}
        if isinstance(self.difficulty, Competence):
            state["difficulty"] = self.difficulty.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.class_sampler.load_state_dict(state["class_sampler"])
        if isinstance(self.difficulty, Competence) and "difficulty" in state:
            self.difficulty.load_state_dict(state["difficulty"])
