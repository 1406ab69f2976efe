# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The last lines of a run: results, files and next commands."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ignite.engine import Engine, Events

from monai_gmcl.handlers.checkpoints.best import BestModelSaver
from monai_gmcl.handlers.last_handlers import call_last
from monai_gmcl.handlers.output_numbers import numbers_of
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.teachers.policy import PolicyTeacher

__all__ = ["RunSummary"]

if TYPE_CHECKING:
    from monai_gmcl.engines.trainer import GMCLTrainer

FILES = ("report.html", "curriculum.csv", "teacher.safetensors")
"""Files that are listed if they exist in the folder."""


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
