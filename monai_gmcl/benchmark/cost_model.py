# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The cost of an iteration of GMCLTrainer by pass: FLOPs, and measured time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from numpy.typing import NDArray
from torch import Tensor

from monai_gmcl.benchmark.flops import FlopCounter
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError, GMCLError
from monai_gmcl.hypergradients import ESTIMATORS, Hypergradient

__all__ = ["CostReport", "cost_of_passes", "cost_table"]

OF_ONE_LESSON = [kind for kind in ESTIMATORS if not kind.needs_real_step]
REAL = ("real images: forward", "real images: backward")
PASSES = (
    *REAL,
    "teacher: forward",
    "lesson: forward",
    "lesson: backward",
    "hypergradient",
    "teacher: backward and step",
    "student: step",
    "all else",
)
EXPLAINED = (
    "expected: FLOPs, measured: time; both of an iteration on B real images and a lesson of B images, relative to",
    "a supervised iteration on 2 B images. FLOPs are those of convolutions, matrix products and attention.",
)
Costs = NDArray[np.float64]
"""Seconds and operations."""
WARM_UP = 2
"""Iterations that are not like those that follow: the first has no lesson before it."""


@dataclass
class CostReport:
    """Cost of an iteration with one estimator.

    Attributes:
        name: the estimator.
        flops: of an iteration, by pass.
        seconds: median time of an iteration, by pass.
        supervised_flops: of forward and backward pass on as many images as the real ones and the lesson together.
        supervised_seconds: median time of that, with the optimizer's step.
        failure: why it cannot be used with this student, or "".
    """

    name: str
    flops: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    supervised_flops: float = float("nan")
    supervised_seconds: float = float("nan")
    failure: str = ""

    @property
    def expected(self) -> float:
        """Operations, in units of the supervised iteration's."""
        return sum(self.flops.values()) / self.supervised_flops

    @property
    def measured(self) -> float:
        """Time, in units of the supervised iteration's."""
        return sum(self.seconds.values()) / self.supervised_seconds


class _PassMeter:
    """Tells what each pass of a trainer's iterations costs, without what the passes inside of it cost."""

    def __init__(self, trainer: GMCLTrainer) -> None:
        assert trainer.teacher_step is not None
        self.counter: FlopCounter | None = None
        self.rows: list[dict[str, Costs]] = []
        self._open: list[Costs] = []
        for owner, method, name in (
            (trainer, "_iteration", "all else"),
            (trainer, "_look_at_real_images", REAL[0]),
            (trainer.student_step, "add_real", REAL[1]),
            (trainer, "_update_the_teacher", "teacher: backward and step"),
            (trainer.teacher_step, "_signal", "hypergradient"),
            (trainer.teacher_pass, "generate", "teacher: forward"),
            (trainer.student, "forward_lesson", "lesson: forward"),
            (trainer.student_step, "add_lesson", "lesson: backward"),
            (trainer, "_learn_from_both", "student: step"),
        ):
            setattr(owner, method, self._metered(getattr(owner, method), name))
        trainer._process_function = trainer._iteration

    def _metered(self, work: Callable[..., Any], name: str) -> Callable[..., Any]:
        def metered(*args: Any, **kwargs: Any) -> Any:
            if name == "all else":
                self.rows.append({name: np.zeros(2) for name in PASSES})
            with self._pass(name):
                return work(*args, **kwargs)

        return metered

    @contextmanager
    def _pass(self, name: str) -> Iterator[None]:
        self._open.append(np.zeros(2))
        before = self._now()
        yield
        spent = self._now() - before
        self.rows[-1][name] += spent - self._open.pop()
        if self._open:
            self._open[-1] += spent

    def _now(self) -> Costs:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return np.array([time.perf_counter(), self.counter.total if self.counter else 0.0])


def cost_of_passes(trainer: GMCLTrainer, iterations: int = 10, runs: int = 3) -> list[CostReport]:
    """Train with one estimator after another, and between them supervised on as many images; count and time.

    The trainer, whose teacher learns at each step, has not run yet. The first two iterations of a run are not timed; of
    ``runs``, taken in turns, medians count. ConfigurationError for another teacher or too few iterations.
    """
    if trainer.teacher_step is None or trainer.teacher_interval > 1 or trainer.accumulation_steps > 1:
        raise ConfigurationError(
            "check: --cost needs a teacher that is updated in each step. Expected a teacher_optimizer, "
            "teacher_interval=1 and accumulation_steps=1."
        )
    if iterations <= WARM_UP:
        raise ConfigurationError(f"check: iterations must be above {WARM_UP}, got {iterations}.")
    batch: dict[str, Tensor] = {}
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: batch.update(_batch_of(trainer)))
    meter = _PassMeter(trainer)
    found = {estimator: CostReport(estimator.__name__) for estimator in OF_ONE_LESSON}
    times: dict[str, list[dict[str, float]]] = {report.name: [] for report in found.values()}
    supervised: dict[str, list[float]] = {report.name: [] for report in found.values()}
    for estimator, report in found.items():
        _count(trainer, estimator(), meter, iterations, report)
    usable = {estimator: report for estimator, report in found.items() if not report.failure}
    for _ in range(runs):
        for estimator, report in usable.items():
            rows = _rows_of(trainer, estimator(), meter, iterations)[WARM_UP:]
            times[report.name].append({name: statistics.median(row[name][0] for row in rows) for name in PASSES})
            supervised[report.name] += _supervised_seconds(trainer, batch, iterations)
    for report in usable.values():
        runs_of = times[report.name]
        report.seconds = {name: statistics.median(run[name] for run in runs_of) for name in PASSES}
        report.supervised_seconds = statistics.median(supervised[report.name])
    return list(found.values())


def _count(
    trainer: GMCLTrainer, estimator: Hypergradient, meter: _PassMeter, iterations: int, report: CostReport
) -> None:
    """Count the operations of the passes, or the reason why the estimator is not available."""
    meter.counter = FlopCounter()
    try:
        last = _rows_of(trainer, estimator, meter, iterations)[-1]
    except (GMCLError, RuntimeError, NotImplementedError) as error:
        report.failure = str(error).splitlines()[0]
        # Another estimator may go on where this one failed.
        trainer._internal_run_generator = None
        trainer.state.iteration = trainer.state.epoch * iterations
    else:
        report.flops = {name: float(last[name][1]) for name in PASSES}
        report.supervised_flops = sum(report.flops[name] for name in REAL) * 2
    meter.counter = None


def _batch_of(trainer: GMCLTrainer) -> Mapping[str, Tensor]:
    lesson = trainer.state.lesson
    if lesson is None or lesson.sources is None:
        return {}
    return {"images": lesson.sources.detach(), "labels": lesson.labels}


def _rows_of(
    trainer: GMCLTrainer, estimator: Hypergradient, meter: _PassMeter, iterations: int
) -> list[dict[str, Costs]]:
    trainer.hypergradient = estimator
    meter.rows = []
    trainer.state.epoch_length = iterations
    trainer.state.max_epochs = trainer.state.epoch + 1
    with meter.counter or nullcontext():
        trainer.run()
    return meter.rows


def _supervised_seconds(trainer: GMCLTrainer, batch: Mapping[str, Tensor], iterations: int) -> list[float]:
    """Times of forward, backward and step on twice the images, on a copy of the student."""
    network, optimizer = deepcopy((trainer.student.network, trainer.optimizer))
    images, labels = (torch.cat([batch[name]] * 2) for name in ("images", "labels"))
    times = []
    for _ in range(iterations):
        start = time.perf_counter()
        optimizer.zero_grad()
        with trainer.precision.autocast():
            loss = trainer.loss_function(trainer.inferer(images, network), labels).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times[WARM_UP:]


def cost_table(reports: list[CostReport]) -> str:
    """Return the reports as text: the passes with the first estimator, then all estimators."""
    first = next((report for report in reports if not report.failure), None)
    if first is None:
        return "\n".join(f"{report.name}: not available: {report.failure}" for report in reports)
    lines = [f"{'pass, with ' + first.name:<40}{'GFLOP':>10}{'share':>8}{'ms':>10}{'share':>8}"]
    flops, seconds = sum(first.flops.values()), sum(first.seconds.values())
    for name in PASSES:
        counted, took = first.flops[name], first.seconds[name]
        shares = counted / flops, took / seconds
        lines.append(f"{name:<40}{counted / 1e9:>10.3f}{shares[0]:>8.1%}{took * 1e3:>10.1f}{shares[1]:>8.1%}")
    lines.append(f"{'estimator':<40}{'expected':>10}{'measured':>10}{'difference':>12}")
    for report in reports:
        if report.failure:
            lines.append(f"{report.name:<40}not available: {report.failure}")
        else:
            difference = report.measured / report.expected - 1
            lines.append(f"{report.name:<40}{report.expected:>10.2f}{report.measured:>10.2f}{difference:>+12.1%}")
    return "\n".join([*lines, *EXPLAINED])
