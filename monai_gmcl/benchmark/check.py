# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Cosine, time and memory of each hypergradient estimator on a user's student and data."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError, GMCLError
from monai_gmcl.hypergradients import ESTIMATORS, ExactHypergradient, HeadHypergradient, Hypergradient
from monai_gmcl.lesson import HeadActivation, Lesson

__all__ = ["EstimatorReport", "check_estimators"]


@dataclass(frozen=True)
class EstimatorReport:
    """Results of one estimator on one lesson.

    Attributes:
        name: name of the estimator.
        cosine: cosine of its hypergradient and the exact hypergradient, -1 to 1.
        milliseconds: median time of one estimate, without the lesson's own pass.
        passes: the same time in units of the student's forward and backward pass on the same number of images.
        mebibytes: additional peak memory of the estimate.
        failure: reason why the estimator cannot be used with this student, or "".
    """

    name: str
    cosine: float = float("nan")
    milliseconds: float = float("nan")
    passes: float = float("nan")
    mebibytes: float = float("nan")
    failure: str = ""


class _Recorder(Hypergradient):
    """Records the data that every estimator needs, in a trainer with the head estimator."""

    needs_real_step = True

    def __init__(self) -> None:
        self.head = HeadHypergradient()
        self.lesson: Lesson | None = None
        self.look_ahead: dict[str, Tensor] = {}

    def record_head(self, network: nn.Module, trained: Sequence[str]) -> AbstractContextManager[list[HeadActivation]]:
        return self.head.record_head(network, trained)

    def choose(self, seen: Sequence[HeadActivation], outputs: Tensor, losses: Tensor) -> HeadActivation:
        return self.head.choose(seen, outputs, losses)

    def required_parameters(self, lesson: Lesson) -> Collection[str]:
        return lesson.parameters

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        self.lesson = lessons[-1]
        self.look_ahead = {name: v.clone() for name, v in look_ahead.items()}
        return self.head(lessons, look_ahead)


def check_estimators(trainer: GMCLTrainer, iterations: int = 4, repeats: int = 3) -> list[EstimatorReport]:
    """Train for some iterations, 2 or more, then compare all estimators on the same lesson, the exact one first.

    Args:
        trainer: a trainer that has not run yet, with a teacher that is trained; its handlers are called.
        iterations: optimizer steps of the student before the comparison, at least 2.
        repeats: number of estimates for the median time.

    Raises:
        ConfigurationError: the trainer has no teacher optimizer, or too few iterations.
    """
    if trainer.teacher_step is None:
        raise ConfigurationError("check: the teacher is frozen. Expected a trainer with a teacher_optimizer.")
    if iterations < 2:
        raise ConfigurationError(f"check: iterations must be at least 2, got {iterations}.")
    recorder = _Recorder()
    trainer.hypergradient = recorder
    trainer.state.max_epochs, trainer.state.epoch_length = 1, iterations
    trainer.run()
    lesson = recorder.lesson
    assert lesson is not None
    unit = _median_seconds(lambda: _student_pass(lesson), repeats)
    exact_first = sorted(ESTIMATORS, key=lambda kind: kind is not ExactHypergradient)
    estimators = [kind.of_one_step() for kind in exact_first]
    reports: list[EstimatorReport] = []
    exact: Tensor | None = None
    for estimator in estimators:
        name, estimate = type(estimator).__name__, partial(estimator, [lesson], recorder.look_ahead)
        try:
            found, _ = estimate()
        except (GMCLError, RuntimeError, NotImplementedError) as error:
            reports.append(EstimatorReport(name, failure=str(error).splitlines()[0]))
            continue
        exact = found if isinstance(estimator, ExactHypergradient) else exact
        cosine = math.nan if exact is None else _cosine(found, exact)
        seconds = _median_seconds(estimate, repeats)
        memory = _peak_bytes(estimate) / 2**20
        reports.append(EstimatorReport(name, cosine, seconds * 1e3, seconds / unit, memory))
    return reports


def _student_pass(lesson: Lesson) -> None:
    loss = lesson.replay(lesson.parameters, lesson.images.detach()).mean()
    torch.autograd.grad(loss, list(lesson.parameters.values()), allow_unused=True)


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.cosine_similarity(first.double().flatten(), second.double().flatten(), dim=0))


def _median_seconds(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        _wait()
        start = time.perf_counter()
        work()
        _wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_bytes(work: Callable[[], Any]) -> int:
    """Return the peak memory of ``work`` in torch's allocators."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return int(torch.cuda.max_memory_allocated() - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    held = peak = 0
    for event in sorted(profiler.events() or [], key=lambda event: event.time_range.end):
        held += event.self_cpu_memory_usage
        peak = max(peak, held)
    return peak
