# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reduces the lesson weight if lessons are harmful."""

from __future__ import annotations

import logging
import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_gmcl.attributes import Renamed
from monai_gmcl.engines.keys import GMCLEvents
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers.output_numbers import LateNumbers
from monai_gmcl.ranks import Ranks

__all__ = ["HarmGuard"]

logger = logging.getLogger(__name__)

LESSONS = 32
"""Number of lessons that are averaged; the cosine of a single lesson has a standard deviation of .2 or more."""
LEAST_LESSONS = 16
"""Smallest number of lessons from which accuracy is used."""
LEARNED = 0.1
"""Accuracy above chance on real images, from which on the accuracy on lessons is checked."""
READABLE = 0.2
"""Lowest accepted ratio of the accuracies above chance on lessons and on real images."""
LEAST_SHARE = 0.01
"""A smaller factor of the lesson weight is set to 0, because such a lesson takes time without an effect."""


class HarmGuard:
    """Reduces the lesson weight w if lessons are harmful.

    Each validation with evidence of harm multiplies w by ``factor``. Each of three observations is evidence of harm:

    - The validation metric has been more than ``margin`` below its best value for ``patience`` validations in a row.
      The count then starts again.
    - The gradients of lessons and of real images disagree: their cosine, averaged over the last 32 lessons, is below
      ``least_agreement``. On small subsets of PCam it is .15 to .5 with useful teachers throughout training. With noise
      and random labels it is 0 under AdamW, but up to .2 under SGD with momentum.
    - The student does not learn the lessons. Its accuracy above chance on the last 32 lessons is less than a fifth of
      its accuracy above chance on real images, once the latter is .1 or more. With useful lessons the ratio is a half
      or more. Chance is the accuracy of random guesses with the class frequencies.

    Each reduction is logged. The current weight is ``lesson_weight`` in ``engine.state.curriculum``. If the factor of
    all reductions together falls below a hundredth, w becomes 0, and no more lessons are made. The factor never rises
    again. Pass the guard to :class:`CheckpointKeeper` in ``save_dict``, because a resumed run needs the factor.

    Args:
        evaluator: the engine of the validation.
        margin: accepted distance below the best validation metric (larger is better), 0 or more.
        patience: number of validations in a row.
        least_agreement: lowest accepted cosine between the gradients of lessons and real images, -1 to 1; with -1 only
            the validation metric is used.
        factor: factor of each reduction, at least 0 and below 1.
        metric_name: name of the validation metric. Default: the evaluator's key metric.

    Attributes:
        kept_weight: the factor of the curriculum's lesson weight, 1 at the start.

    Raises:
        ConfigurationError: arguments outside these ranges; on attaching, an engine without a curriculum.
    """

    share = Renamed("kept_weight")

    def __init__(
        self,
        evaluator: Engine,
        margin: float = 0.05,
        patience: int = 3,
        least_agreement: float = 0.05,
        factor: float = 0.3,
        metric_name: str | None = None,
    ) -> None:
        if not (margin >= 0 and patience >= 1 and -1 <= least_agreement <= 1 and 0 <= factor < 1):
            raise ConfigurationError(
                "HarmGuard: expected margin >= 0, patience >= 1, -1 <= least_agreement <= 1 and 0 <= factor < 1, got "
                f"{margin}, {patience}, {least_agreement} and {factor}."
            )
        self.evaluator = evaluator
        self.margin = margin
        self.patience = patience
        self.least_agreement = least_agreement
        self.factor = factor
        self.metric_name = metric_name
        self.kept_weight = 1.0
        self._best = -math.inf
        self._below = 0
        self._agreements: deque[float] = deque(maxlen=LESSONS)
        self._above_chance: deque[tuple[float, float]] = deque(maxlen=LESSONS)
        self._late = LateNumbers()

    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        curriculum = getattr(engine, "curriculum", None)
        if curriculum is None:
            raise ConfigurationError(
                f"HarmGuard got a {type(engine).__name__} without a curriculum; expected a GMCLTrainer."
            )
        planned = curriculum.schedules["lesson_weight"]

        def guarded(progress: float) -> float:
            return self.kept_weight * float(planned(progress) if callable(planned) else planned)

        curriculum.schedules["lesson_weight"] = guarded
        engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, self._observe)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self._hear(self._late.if_due(engine)))
        self.evaluator.add_event_handler(Events.COMPLETED, self._judge)

    def state_dict(self) -> dict[str, Any]:
        """Return the factor of the weight and the observations."""
        self._hear(self._late.read())
        return {
            "share": self.kept_weight,  # the name in checkpoints of earlier versions
            "best": self._best,
            "below": self._below,
            "agreements": list(self._agreements),
            "above_chance": [list(pair) for pair in self._above_chance],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.kept_weight, self._best, self._below = state["share"], state["best"], state["below"]
        self._agreements = deque(state["agreements"], LESSONS)
        self._above_chance = deque([(real, lesson) for real, lesson in state["above_chance"]], LESSONS)

    def _observe(self, engine: GMCLTrainer) -> None:
        step = engine.student_step
        lesson, output, accuracy = engine.state.lesson, engine.state.output, engine.state.curriculum
        chances = [engine.task.chance(y) for y in (output[Keys.LABEL], lesson.labels[: lesson.num_labeled])]
        own = [cosine(step.real_gradient(), step.lesson_gradient()), *chances]
        # All ranks use the same value, so that their curricula stay equal.
        shared = torch.stack([number.to(chances[0]) for number in own])
        Ranks().average([shared])
        accuracies = {name: accuracy.get(name, math.nan) for name in ("real_accuracy", "lesson_accuracy")}
        self._late.add(dict(zip(("agreement", "chance", "lesson_chance"), shared, strict=True)) | accuracies)

    def _hear(self, lessons: Sequence[Mapping[str, float]]) -> None:
        for seen in lessons:
            self._agreements.append(seen["agreement"])
            above = seen["real_accuracy"] - seen["chance"], seen["lesson_accuracy"] - seen["lesson_chance"]
            # An accuracy without any image is NaN.
            if not any(map(math.isnan, above)):
                self._above_chance.append(above)

    def _judge(self, evaluator: Engine) -> None:
        self._hear(self._late.read())
        if self.kept_weight == 0:
            return
        for reason in (self._worse_validation(evaluator), self._opposing_lessons(), self._unreadable_lessons()):
            if reason is not None:
                kept = self.kept_weight * self.factor
                self.kept_weight = kept if kept >= LEAST_SHARE else 0.0
                logger.warning(
                    "%s. The weight of lessons is reduced to %.3g of its planned value.", reason, self.kept_weight
                )
                return

    def _worse_validation(self, evaluator: Engine) -> str | None:
        name = str(self.metric_name or getattr(evaluator.state, "key_metric_name", None))
        value = float(evaluator.state.metrics[name])
        self._best = max(self._best, value) if not math.isnan(value) else self._best
        # NaN counts as a value below the best.
        self._below = 0 if value >= self._best - self.margin else self._below + 1
        if self._below < self.patience:
            return None
        self._below = 0
        below = f"more than {self.margin:g} below its best value, {self._best:.4g}"
        return f"{name} is {value:.4g}. It was {below}, in {self.patience} validations in a row"

    def _opposing_lessons(self) -> str | None:
        if not self._agreements:
            return None
        mean = statistics.fmean(self._agreements)
        if mean >= self.least_agreement:
            return None
        return (
            f"The gradients of lessons and of real images disagree: their mean cosine is {mean:.3f} over "
            f"{len(self._agreements)} lessons, expected at least {self.least_agreement:g}"
        )

    def _unreadable_lessons(self) -> str | None:
        if len(self._above_chance) < LEAST_LESSONS:
            return None
        real, lesson = (statistics.fmean(values) for values in zip(*self._above_chance, strict=True))
        if real < LEARNED or lesson >= READABLE * real:
            return None
        return (
            f"The student does not recognize the lessons: its accuracy above chance is {lesson:.3f} over "
            f"{len(self._above_chance)} lessons, and {real:.3f} on real images"
        )


def cosine(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Tensor:
    """Return the cosine of two gradients over their common parameters; 0 if one gradient is 0."""
    pairs = [(first[name].flatten(), second[name].flatten()) for name in first if name in second]
    if not pairs:
        return torch.zeros(())
    product = torch.stack([a.dot(b) for a, b in pairs]).sum()
    norms = [torch.stack([part.norm() for part in parts]).norm() for parts in zip(*pairs, strict=True)]
    scale = norms[0] * norms[1]
    return torch.where(scale > 0, product / scale, 0)
