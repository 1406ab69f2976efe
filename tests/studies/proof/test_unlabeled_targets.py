# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.report.rows import Results
from studies.proof.targets import MET, MISSED, OPEN, Target
from studies.proof.unlabeled_targets import unlabeled_targets

LEVELS = {
    **{"gmcl": 0.80, "gmcl_twice_the_steps": 0.80, "gmcl_unlabeled": 0.83, "gmcl_unlabeled_uniform": 0.82},
    **{"gmcl_unlabeled_true": 0.835, "fixmatch": 0.81, "fixmatch_longer": 0.81},
    **{"mean_teacher": 0.79, "mean_teacher_longer": 0.79},
}


def of(rows: Any, sizes: tuple[int, ...] = (100, 250, 500), **levels: float) -> list[Target]:
    found = [*rows(sizes=sizes, **{**LEVELS, **levels}), *rows("pneumonia", (50, 100), **{**LEVELS, **levels})]
    return unlabeled_targets(Results((Path(str(i)), row) for i, row in enumerate(found)))


def states(found: list[Target]) -> list[str]:
    return [target.state for target in found]


def test_all_are_met_where_the_weighed_arm_is_ahead_by_enough(rows: Any) -> None:
    found = of(rows)
    assert states(found) == [MET] * 9 and all("missed" not in target.found for target in found)


@pytest.mark.parametrize(
    ("arm", "level", "place"),
    [
        ("gmcl_unlabeled_uniform", 0.832, 0),
        ("gmcl", 0.82, 1),
        ("gmcl_twice_the_steps", 0.82, 2),
        ("fixmatch", 0.84, 3),
        ("fixmatch_longer", 0.84, 4),
        ("mean_teacher", 0.84, 5),
        ("mean_teacher_longer", 0.84, 6),
        ("gmcl_unlabeled_true", 0.9, 7),
    ],
)
def test_an_arm_that_comes_too_near_is_missed(rows: Any, arm: str, level: float, place: int) -> None:
    assert states(of(rows, **{arm: level}))[place] == MISSED


def test_xrays_may_lose_a_little(rows: Any) -> None:
    assert states(of(rows, gmcl=0.833))[-1] == MET
    assert states(of(rows, gmcl=0.84))[-1] == MISSED


def test_sizes_without_runs_leave_the_pooled_wants_open(rows: Any) -> None:
    found = of(rows, sizes=(100, 500))
    assert states(found)[:7] == [OPEN] * 7 and "2 of 3 n" in found[0].found


def test_the_chosen_weights_decide_and_the_final_ones_stand_beside(rows: Any) -> None:
    found = rows(sizes=(100, 250, 500), **LEVELS)
    for row in found:
        if row["arm"] == "gmcl_unlabeled":
            measures = row["measures"]["test"]
            measures["final"] = {**measures["final"], "auc": measures["final"]["auc"] - 0.05}
    first = unlabeled_targets(Results((Path(str(i)), row) for i, row in enumerate(found)))[0]
    assert first.state == MET and "best-validation checkpoint +" in first.found and "last checkpoint −" in first.found
    assert first.found.count("(met)") == first.found.count("(missed)") == 1
