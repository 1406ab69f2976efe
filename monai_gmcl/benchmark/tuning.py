# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Choice of the strength of a tuned arm by validation, for all seeds of a number of labels together."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_gmcl.benchmark.arms import STRENGTHS
from monai_gmcl.benchmark.grid import Job, keep_row
from monai_gmcl.benchmark.label_kinds import kind_of

__all__ = ["PILOTS", "chosen_strengths", "keep_chosen_strengths"]

PILOTS = 2
"""Seeds that run every strength; the others take the one that was best over these."""
COSTS = ("wall_seconds", "cpu_seconds", "student_passes", "flops")

Rows = dict[tuple[int, float], dict[str, Any]]
"""What is kept of the runs of a tuned arm at one number of labels, by seed and strength."""


def chosen_strengths(jobs: Sequence[Job], folder: Path) -> dict[tuple[str, int], float]:
    """Return the strength of each tuned arm and n whose pilot runs are kept.

    It has the best mean AUC, or Dice, on the choosing images over the pilots' seeds; where the arm has a tolerance, it
    is the lowest strength that is so near to the best.
    """
    return {(cell[0].row_arm, cell[0].n): _chosen(rows, cell[0]) for cell, rows in _tuned_cells(jobs, folder)}


def keep_chosen_strengths(jobs: Sequence[Job], folder: Path) -> None:
    """Write the row of each seed of a tuned arm: the run at the chosen strength.

    What the other strengths cost stands under ``cost.tuning``: a seed's own where it ran them, or the pilots' mean.
    """
    for cell, rows in _tuned_cells(jobs, folder):
        chosen = _chosen(rows, cell[0])
        spent: dict[int, dict[str, float]] = {}
        for seed in _pilots(rows):
            others = [rows[seed, strength]["cost"] for strength in STRENGTHS if strength != chosen]
            spent[seed] = {name: sum(cost[name] for cost in others) for name in COSTS}
        usual = {name: statistics.mean(cost[name] for cost in spent.values()) for name in COSTS}
        for job in cell:
            if job.strength == chosen and (job.seed, chosen) in rows:
                row = rows[job.seed, chosen]
                row["cost"]["tuning"] = spent.get(job.seed, usual)
                keep_row(replace(job, strength=None).file(folder), row)


def _tuned_cells(jobs: Sequence[Job], folder: Path) -> Iterator[tuple[list[Job], Rows]]:
    """Yield the jobs of each tuned arm and n with the rows that are kept, once all of the pilots are."""
    cells: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        if job.strength is not None:
            cells.setdefault((job.row_arm, job.n), []).append(job)
    for cell in cells.values():
        strengths_of_seed = Counter(job.seed for job in cell)
        rows = {(job.seed, job.strength or 0.0): _read(job.file(folder)) for job in cell if job.is_done(folder)}
        if all((job.seed, job.strength) in rows for job in cell if strengths_of_seed[job.seed] == len(STRENGTHS)):
            yield cell, rows


def _pilots(rows: Rows) -> list[int]:
    seeds = {seed for seed, _ in rows}
    return sorted(seed for seed in seeds if all((seed, strength) in rows for strength in STRENGTHS))


def _chosen(rows: Rows, job: Job) -> float:
    metric = kind_of(job.options).metric
    means = {
        strength: statistics.mean(rows[seed, strength][f"valid_{metric}"]["chosen"] for seed in _pilots(rows))
        for strength in STRENGTHS
    }
    least = max(means.values()) - job.tolerance
    return min(strength for strength, mean in means.items() if mean >= least)


def _read(file: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return row
