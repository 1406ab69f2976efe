# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run prints: a progress bar with losses and the curriculum's values that change, and its last lines."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.utils.enums import CommonKeys as Keys

from monai_gmcl.engines.keys import GMCLKeys
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.checkpoints.best import BestModelSaver
from monai_gmcl.handlers.last_handlers import call_last
from monai_gmcl.handlers.output_numbers import LateNumbers, numbers_of, output_number, unread_output_number
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.teachers.policy import PolicyTeacher

__all__ = ["LessonProgressBar", "RunSummary"]

CURRICULUM = (GMCLKeys.WEIGHT, GMCLKeys.HARDNESS, GMCLKeys.DIFFICULTY)
FILES = ("report.html", "curriculum.csv", "teacher.safetensors")
"""Files that are listed if they exist in the folder."""


class LessonProgressBar:
    """ignite's progress bar, one for each epoch; if stderr is not a terminal, one line for each epoch.

    It shows the loss on real images, the last validation metric, and lesson weight, hardness and difficulty if they
    have changed since the run began. The line of an epoch has its mean loss.

    Args:
        evaluator: the engine of the validation.
        metric_name: name of the metric in ``evaluator.state.metrics``; nothing is shown while it is missing.
    """

    def __init__(self, evaluator: Engine | None = None, metric_name: str = "val_auc") -> None:
        self.evaluator = evaluator
        self.metric_name = metric_name
        self._first: dict[str, float] = {}
        self._changed: set[str] = set()
        self._losses: list[float] = []
        self._late = LateNumbers()

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        if sys.stderr.isatty():
            ProgressBar().attach(engine, output_transform=self._shown)
        else:
            engine.add_event_handler(Events.EPOCH_STARTED, self._losses.clear)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
            call_last(engine, Events.EPOCH_COMPLETED, self._print)  # after the validation of the epoch

    def _shown(self, output: Any) -> dict[str, float]:
        return {str(Keys.LOSS): output_number(output, Keys.LOSS), **self._shown_beside_loss(output)}

    def _shown_beside_loss(self, output: Any) -> dict[str, float]:
        shown = {}
        for name in map(str, CURRICULUM):
            number = output_number(output, name)
            if number != self._first.setdefault(name, number):
                self._changed.add(name)
            if name in self._changed:
                shown[name] = number
        if self.evaluator is not None:
            metrics = numbers_of(self.evaluator.state.metrics)
            shown.update({name: number for name, number in metrics.items() if name == self.metric_name})
        return shown

    def _observe(self, engine: GMCLTrainer) -> None:
        self._shown_beside_loss(engine.state.output)
        self._late.add({str(Keys.LOSS): unread_output_number(engine.state.output, Keys.LOSS)})
        self._hear(self._late.if_due(engine))

    def _hear(self, steps: Sequence[Mapping[str, float]]) -> None:
        self._losses += [seen[str(Keys.LOSS)] for seen in steps]

    def _print(self, engine: GMCLTrainer) -> None:
        self._hear(self._late.read())
        if not self._losses:
            return  # in a resumed run whose epoch had no iterations left
        loss = math.fsum(self._losses) / len(self._losses)
        shown = {**self._shown(engine.state.output), str(Keys.LOSS): loss}
        numbers = ", ".join(f"{name} {number:.4g}" for name, number in shown.items())
        print(f"Epoch {engine.state.epoch}/{engine.state.max_epochs}: {numbers}", file=sys.stderr, flush=True)


class RunSummary:
    """Prints at the end of a run: the best validation and its epoch, operations turned down, files, next commands.

    Args:
        output_dir: folder of the run, whose files are listed.
        evaluator: the engine of the validation.
        best_model: the handler that saves the student with the best validation.
        next_commands: shell commands, by their purpose.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        evaluator: Engine,
        best_model: BestModelSaver,
        next_commands: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(output_dir)
        self.evaluator = evaluator
        self.best_model = best_model
        self.next_commands = dict(next_commands or {})

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to a trainer."""
        call_last(engine, Events.COMPLETED, self._print)  # after the handlers that write files

    def _print(self, engine: GMCLTrainer) -> None:
        lines = [f"\nThe run has finished: {engine.state.epoch} epochs."]
        lines += [f"  {title:<18}{text}" for title, text in self._results(engine)]
        lines += [f"{title}:\n  {command}" for title, command in self.next_commands.items()]
        print("\n".join(lines), flush=True)

    def _results(self, engine: GMCLTrainer) -> list[tuple[str, str]]:
        best = self.best_model
        name = str(best.metric_name or getattr(self.evaluator.state, "key_metric_name", None))
        found = [("best validation", "none (no epoch was validated)")]
        if best.best is not None:
            last = numbers_of(self.evaluator.state.metrics).get(name)
            beside = "" if last is None else f" (last validation: {last:.4f})"
            found = [("best validation", f"{name} {best.best:.4f} in epoch {best.epoch}{beside}")]
            found.append(("student", f"{best.path} (of epoch {best.epoch})"))
        if isinstance(engine.teacher, PolicyTeacher):
            found.append(("turned down", ", ".join(engine.teacher.turned_down) or "no operation"))
        files = [str(self.folder / file) for file in FILES if (self.folder / file).is_file()]
        return [*found, *((("files", ", ".join(files)),) if files else ())]
