# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.comparison import chosen_strengths, keep_chosen_strengths
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.grid import Job, jobs_of

COST = {"wall_seconds": 1.0, "cpu_seconds": 2.0, "student_passes": 3, "flops": 4.0}

KNOWN = {**ARMS, "costly": replace(ARMS["strong"], tolerance=0.005)}


def strengths_of(arm: str, seeds: Sequence[int], chosen: float | None = None) -> list[Job]:
    strengths = {} if chosen is None else {(arm, 8): chosen}
    return jobs_of(DataOptions("shades"), [8], [arm], seeds, 10, ["test"], 2.0, strengths, KNOWN)


def keep(jobs: Sequence[Job], folder: Path, aucs: Sequence[float]) -> None:
    for job, auc in zip(jobs, aucs, strict=True):
        row = {"settings": job.settings, "valid_auc": {"chosen": auc}, "cost": {**COST, "tuning": None}}
        job.file(folder).parent.mkdir(parents=True, exist_ok=True)
        job.file(folder).write_text(json.dumps(row))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((folder / "runs").glob("*.json"))]


def test_validation_chooses_the_strength_and_the_others_are_its_cost(tmp_path: Path) -> None:
    jobs = strengths_of("strong", [0])
    keep(jobs, tmp_path, (0.6, 0.9, 0.7))
    keep_chosen_strengths(jobs, tmp_path)
    (row,) = rows_of(tmp_path)
    assert row["settings"]["strength"] == 1.0
    assert row["cost"]["tuning"] == {"wall_seconds": 2.0, "cpu_seconds": 4.0, "student_passes": 6, "flops": 8.0}


def test_the_strength_that_is_best_over_the_pilots_is_that_of_every_seed(tmp_path: Path) -> None:
    pilots = strengths_of("strong", [0, 1])
    keep(pilots, tmp_path, (0.9, 0.7, 0.6, 0.5, 0.8, 0.6))
    assert chosen_strengths(pilots, tmp_path) == {("strong", 8): 1.0}
    later = strengths_of("strong", [2], chosen=1.0)
    keep(later, tmp_path, (0.4,))
    keep_chosen_strengths([*pilots, *later], tmp_path)
    rows = rows_of(tmp_path)
    assert [(row["settings"]["seed"], row["settings"]["strength"]) for row in rows] == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert [row["cost"]["tuning"]["flops"] for row in rows] == [8.0, 8.0, 8.0]


@pytest.mark.parametrize(
    ("aucs", "chosen"), [((0.8, 0.896, 0.9), 1.0), ((0.8, 0.894, 0.9), 2.0), ((0.9, 0.9, 0.8), 0.5)]
)
def test_the_lowest_strength_within_the_tolerance_of_an_arm_is_chosen(
    tmp_path: Path, aucs: tuple[float, ...], chosen: float
) -> None:
    jobs = strengths_of("costly", [0])
    keep(jobs, tmp_path, aucs)
    keep_chosen_strengths(jobs, tmp_path)
    (row,) = rows_of(tmp_path)
    assert row["settings"]["strength"] == chosen


def test_a_strength_is_not_chosen_before_all_pilots_are_run(tmp_path: Path) -> None:
    jobs = strengths_of("strong", [0, 1])
    keep(jobs[:5], tmp_path, (0.9, 0.7, 0.6, 0.5, 0.8))
    keep_chosen_strengths(jobs, tmp_path)
    assert not rows_of(tmp_path) and not chosen_strengths(jobs, tmp_path)
