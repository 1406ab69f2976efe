# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of the study, and what they say of two arms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from monai_gmcl.benchmark.report.paired_difference import PairedDifference, pooled_difference
from monai_gmcl.exceptions import DataError
from studies.policies.arms import ARMS
from studies.policies.tasks import TASKS

__all__ = ["NEEDED", "WEIGHTS", "Cell", "Results"]

WEIGHTS = {"final": "last", "chosen": "best-validation", "ema_final": "EMA, last", "ema_chosen": "EMA, best-validation"}
"""Kinds of checkpoints, as the report calls them."""
NEEDED = {"task", "n", "seed", "arm", "part", "steps"}
"""What the settings of a row hold."""


@dataclass(frozen=True, order=True)
class Cell:
    """Where arms are compared: a task and a number of labeled images."""

    task: str
    n: int


class Results:
    """Rows that were measured on one part after one number of steps.

    Args:
        rows: of :func:`studies.grid.read_rows`.

    Raises:
        DataError: two rows of the same run, or an unknown task or arm.
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows: dict[tuple[Cell, str], dict[int, dict[str, Any]]] = {}
        for row in rows:
            own = row["settings"]
            cell, arm = Cell(own["task"], own["n"]), own["arm"]
            if cell.task not in TASKS or arm not in ARMS:
                raise DataError(f"Expected a task and an arm of this study, found {cell.task!r} and {arm!r}.")
            runs = self._rows.setdefault((cell, arm), {})
            if own["seed"] in runs:
                raise DataError(f"Expected one row of each run, found two of {own}. Delete one of them.")
            runs[own["seed"]] = row

    def tasks(self, controls: bool | None = None) -> list[str]:
        """Return the tasks with rows, all of them or controls or others only, in the order of the study."""
        found = {cell.task for cell, _ in self._rows}
        return [name for name, task in TASKS.items() if name in found and controls in (None, task.is_control)]

    def cells(self, tasks: Sequence[str]) -> list[Cell]:
        """Return the cells of some tasks, by number of labeled images."""
        return sorted({cell for cell, _ in self._rows if cell.task in tasks})

    def arms(self, tasks: Sequence[str]) -> list[str]:
        """Return the arms with rows in some tasks."""
        found = {arm for cell, arm in self._rows if cell.task in tasks}
        return [arm for arm in ARMS if arm in found]

    def rows(self, task: str, arm: str) -> list[dict[str, Any]]:
        """Return the rows of an arm in a task."""
        return [
            row
            for (cell, name), runs in self._rows.items()
            if (cell.task, name) == (task, arm)
            for row in runs.values()
        ]

    def numbers(self, cell: Cell, arm: str, weights: str) -> dict[int, float]:
        """Return the AUC of each seed."""
        return {seed: row["auc"][weights] for seed, row in self._rows.get((cell, arm), {}).items()}

    def difference(self, cells: Sequence[Cell], ours: str, theirs: str, weights: str) -> PairedDifference | None:
        """Return the paired difference, pooled over the cells in which both share two seeds or more.

        Where they share one seed in each cell at most, the mean without an interval; None where they share nothing.
        """
        found = self._differences(cells, ours, theirs, weights)
        if enough := [cell for cell in found if len(cell) > 1]:
            return pooled_difference(enough)
        mean = self.gap(cells, ours, theirs, weights)
        return None if mean is None else PairedDifference(mean, math.nan, -math.inf, math.inf, len(found), len(found))

    def is_whole(self, tasks: Sequence[str], arms: Sequence[str]) -> bool:
        """Return whether each of the arms has each number of labeled images and each seed in each of the tasks."""
        cells = [Cell(task, n) for task in tasks for n in {cell.n for cell, _ in self._rows}]
        seeds = {seed for runs in self._rows.values() for seed in runs}
        return all(self._rows.get((cell, arm), {}).keys() == seeds for cell in cells for arm in arms)

    def gap(self, cells: Sequence[Cell], ours: str, theirs: str, weights: str) -> float | None:
        """Return the mean over cells of the mean paired difference, however few seeds there are; None without any."""
        means = [float(cell.mean()) for cell in self._differences(cells, ours, theirs, weights)]
        return statistics.fmean(means) if means else None

    def missing(self) -> list[tuple[Cell, str, list[int]]]:
        """Return cell, arm and seeds of runs that belong to the grid of what was run, and are not there."""
        tasks = self.tasks()
        numbers = sorted({cell.n for cell, _ in self._rows})
        seeds = {seed for runs in self._rows.values() for seed in runs}
        arms = self.arms(tasks)
        found: list[tuple[Cell, str, list[int]]] = []
        for cell in [Cell(task, n) for task in tasks for n in numbers]:
            for arm in arms:
                lacking = sorted(seeds - self._rows.get((cell, arm), {}).keys())
                if ARMS[arm].suits(TASKS[cell.task]) and lacking:
                    found.append((cell, arm, lacking))
        return found

    def _differences(self, cells: Sequence[Cell], ours: str, theirs: str, weights: str) -> list[pd.Series]:
        """Of the seeds that both have, in the cells where there are some."""
        pairs = ((pd.Series(self.numbers(cell, arm, weights), dtype=float) for arm in (ours, theirs)) for cell in cells)
        found = [(first - second).dropna() for first, second in pairs]
        return [cell for cell in found if len(cell)]
