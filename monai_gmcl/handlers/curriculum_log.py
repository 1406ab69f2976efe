# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``curriculum.csv``: losses, accuracies and the curriculum's values of each epoch; ``curves.png``: their curves."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.engines.keys import GMCLKeys
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.handlers.last_handlers import call_last
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.handlers.output_numbers import LateNumbers, numbers_of, unread_numbers_of, unread_output_number
from monai_gmcl.labels import labels_for_teacher
from monai_gmcl.lesson import Lesson
from monai_gmcl.metrics import diversity, diversity_kept
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.reporting.figures import optional_picture
from monai_gmcl.reporting.run_figures import curves_png
from monai_gmcl.teachers import Teacher

__all__ = ["CurriculumLog", "CurvesHandler"]

SOURCES = 4
LOGGED = (Keys.LOSS, GMCLKeys.SYNTHETIC_LOSS, GMCLKeys.TEACHER_GRAD_NORM)


class CurriculumLog:
    """Writes ``curriculum.csv``: one row for each epoch with losses, accuracies, the curriculum's values and metrics.

    Averages over the epoch's iterations: ``loss`` of real images, ``synthetic_loss`` (of iterations with a lesson),
    ``teacher_grad_norm``, and everything in ``engine.state.curriculum``. ``diversity`` is computed on the epoch's last
    lesson, as the mean over pairs of its images of

        ``sqrt(mean((x_i - x_j)^2))``

    in the units of the student's input. ``diversity_kept`` takes a few sources of that lesson and compares 8 synthetic
    images of each with those of the untrained teacher (:func:`monai_gmcl.metrics.diversity_kept`).

    Numbers in ``engine.state.metrics`` become columns ``train_...``. Metrics of the evaluator become columns
    ``val_...``, in epochs in which it ran. The position of the validation handler in the list of handlers does not
    matter.

    A resumed run continues the same file. It replaces the rows of epochs that it repeats. The row of an epoch in which
    the run was stopped covers all its iterations.

    Args:
        output_dir: folder of ``curriculum.csv``; it is created if it does not exist.
        summary_writer: a TensorBoard writer; numbers are written to ``gmcl/<column>`` by epoch.
        evaluator: the engine of the validation.

    Raises:
        DataError: on attaching, if an existing ``curriculum.csv`` is not such a table.
    """

    FILE_NAME = "curriculum.csv"

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        summary_writer: Any | None = None,
        evaluator: Engine | None = None,
    ) -> None:
        self.table = EpochTable(Path(output_dir) / self.FILE_NAME)
        self.summary_writer = summary_writer
        self.evaluator = evaluator
        self.logger = logging.getLogger(__name__)
        self._seen: dict[str, list[float]] = {}
        self._validation: dict[str, float] = {}
        self._late = LateNumbers()

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        make_folder(self.table.path.parent)
        hold_output(engine, self.table.path.parent)
        self.table.read()  # read now, so that a wrong file raises an error before the first epoch
        call_last(engine, Events.EPOCH_COMPLETED, self._write)  # after the validation of the epoch
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._observe_validation)

    def state_dict(self) -> dict[str, Any]:
        """Return the values collected in this epoch."""
        self._hear(self._late.read())
        return {"seen": {name: list(numbers) for name, numbers in self._seen.items()}, "validation": self._validation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._seen = {name: list(numbers) for name, numbers in state["seen"].items()}
        self._validation = dict(state["validation"])

    def _begin(self) -> None:
        self._seen, self._validation, self._late = {}, {}, LateNumbers()

    def _observe(self, engine: GMCLTrainer) -> None:
        numbers: dict[str, float | Tensor] = {
            str(key): unread_output_number(engine.state.output, key) for key in LOGGED
        }
        if engine.state.lesson is None:
            # The output is 0 in iterations without a lesson.
            numbers[str(GMCLKeys.SYNTHETIC_LOSS)] = math.nan
        self._late.add({**numbers, **unread_numbers_of(engine.state.curriculum)})
        self._hear(self._late.if_due(engine))

    def _hear(self, steps: Sequence[Mapping[str, float]]) -> None:
        for name, number in ((name, number) for step in steps for name, number in step.items()):
            self._seen.setdefault(name, []).append(number)

    def _observe_validation(self, evaluator: Engine) -> None:
        self._validation = _prefixed("val_", evaluator.state.metrics)

    def _write(self, engine: GMCLTrainer) -> None:
        self._hear(self._late.read())
        lesson = engine.state.lesson
        row = {
            **{name: _mean(numbers) for name, numbers in self._seen.items()},
            "diversity": _diversity(lesson),
            "diversity_kept": _diversity_kept(engine.teacher, lesson),
            **_prefixed("train_", engine.state.metrics),
            **self._validation,
        }
        epoch = engine.state.epoch
        self.table.put(epoch, row)
        known = {name: number for name, number in row.items() if not math.isnan(number)}
        self.logger.info("Epoch %d: %s", epoch, ", ".join(f"{name} {number:.4g}" for name, number in known.items()))
        if self.summary_writer is not None:
            for name, number in known.items():
                self.summary_writer.add_scalar(f"gmcl/{name}", number, epoch)


def _diversity(lesson: Lesson | None) -> float:
    known = lesson is not None and lesson.images is not None and len(lesson) > 1
    return diversity(lesson.images) if known else float("nan")  # type: ignore[union-attr]


def _diversity_kept(teacher: nn.Module, lesson: Lesson | None) -> float:
    if not isinstance(teacher, Teacher) or lesson is None or lesson.images is None or lesson.difficulty == 0:
        return float("nan")
    images = lesson.images.detach() if lesson.sources is None else lesson.sources
    return diversity_kept(teacher, images[:SOURCES], labels_for_teacher(lesson.labels[:SOURCES]), lesson.difficulty)


def _mean(numbers: list[float]) -> float:
    known = [number for number in numbers if not math.isnan(number)]
    return math.fsum(known) / len(known) if known else float("nan")


def _prefixed(prefix: str, metrics: dict[str, Any]) -> dict[str, float]:
    return {f"{prefix}{name.removeprefix(prefix)}": number for name, number in numbers_of(metrics).items()}


class CurvesHandler:
    """Draws ``curves.png`` at the end of the run, from the ``curriculum.csv`` of :class:`CurriculumLog`.

    Panels: losses, accuracies, metrics of training and validation, weights with hardness and difficulty, the norm of
    the teacher's gradient, diversity. Panels without a number are left out.

    Args:
        output_dir: folder of both files.
    """

    FILE_NAME = "curves.png"

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.folder = Path(output_dir)
        self.logger = logging.getLogger(__name__)

    @on_first_rank
    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        hold_output(engine, self.folder)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _draw(self) -> None:
        table = EpochTable(self.folder / CurriculumLog.FILE_NAME)
        rows = table.read()
        if not rows:
            # A finished run should not fail because of a picture.
            self.logger.warning("Curves were not drawn because %s has no rows. Attach a CurriculumLog.", table.path)
            return
        path = self.folder / self.FILE_NAME
        with optional_picture(path):
            write_whole(path, curves_png(rows))
