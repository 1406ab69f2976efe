# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.report.rows import Results
from studies.proof.targets import MET, MISSED, OPEN, Target, targets


def of(found: list[dict[str, Any]], start: str) -> list[Target]:
    kept = targets(Results((Path(str(i)), row) for i, row in enumerate(found)))
    return [target for target in kept if target.what.startswith(start)]


@pytest.mark.parametrize(("level", "state"), [(0.84, MET), (0.815, MISSED)])
def test_a_gain_of_two_hundredths_is_wanted_at_every_size(rows: Any, level: float, state: str) -> None:
    (target,) = of(rows(gmcl=level), "1. GMCL − standard transforms, PCam")
    assert target.state == state
    assert f"n = 500: +{level - 0.80:.3f}".replace("0.", ".")[:12] in target.found


def test_a_size_without_runs_leaves_a_target_open(rows: Any) -> None:
    (target,) = of(rows(sizes=(100, 500)), "1. GMCL − standard transforms, PCam")
    assert target.state == OPEN and "no runs at n = 250, n = 1000" in target.found


def test_one_size_that_misses_is_enough_to_miss(rows: Any) -> None:
    found = [*rows(sizes=(100,)), *rows(sizes=(500,), gmcl=0.7)]
    assert of(found, "1. GMCL − standard transforms, PCam")[0].state == MISSED


def test_no_interval_is_no_decision(rows: Any) -> None:
    assert of(rows(seeds=1), "1. GMCL − standard transforms, PCam")[0].state == OPEN


@pytest.mark.parametrize(("level", "state"), [(0.808, MET), (0.80, MISSED)])
def test_on_xrays_the_better_of_the_plain_arms_may_be_a_little_above(rows: Any, level: float, state: str) -> None:
    (target,) = of(rows("pneumonia", (100, 200, 400), gmcl=level), "1. GMCL − the better of both, X-rays (test)")
    assert target.state == state


@pytest.mark.parametrize(("level", "state"), [(0.84, MET), (0.829, MISSED)])
def test_the_share_of_learning_is_pooled_over_sizes_and_data_sets(rows: Any, level: float, state: str) -> None:
    found = [*rows(gmcl=level), *rows("pneumonia", (100, 200, 400), gmcl=level)]
    (target,) = of(found, "3. GMCL − frozen teacher, at the usual start")
    assert target.state == state and "7 of 7 cells; last checkpoint" in target.found


@pytest.mark.parametrize(("seconds", "state"), [(100.0, MET), (80.0, MISSED)])
def test_the_gans_time_is_that_of_its_chosen_length(rows: Any, seconds: float, state: str) -> None:
    found = [*rows(), *rows("pneumonia", (100, 200, 400))]
    for row in found:
        if row["arm"] == "two_stage_gan":
            row["cost"] |= {"wall_seconds": seconds, "flops": 1e13, "tuning": {"wall_seconds": 150.0 - seconds}}
    (target,) = of(found, "2. GMCL's time")
    share = f"{30 / seconds:.2f}".removeprefix("0")
    assert target.state == state and f"pcam 500: {share} (with its tuning .20; FLOP .40)" in target.found


def test_labels_are_saved_where_half_of_them_do(rows: Any) -> None:
    (target,) = of(rows(sizes=(50, 100, 200)), "4. GMCL with n labels − standard transforms with 2 n, PCam")
    assert target.state == MET and "50 − 100: +" in target.found
    (target,) = of(rows(sizes=(50, 100, 200), gmcl=0.7), "4. GMCL with n labels − standard transforms with 2 n, PCam")
    assert target.state in (MISSED, OPEN) and "50 − 100: −" in target.found


def test_sizes_without_a_twin_in_the_plan_leave_label_efficiency_decided(rows: Any) -> None:
    sizes = (50, 100, 200, 250, 500, 1000, 2000)
    (target,) = of(rows(sizes=sizes, gmcl=0.7), "4. GMCL with n labels − standard transforms with 2 n, PCam")
    assert target.state == MISSED
    (open_target,) = of(rows(sizes=sizes[:5], gmcl=0.7), "4. GMCL with n labels − standard transforms with 2 n, PCam")
    assert open_target.state == OPEN


def test_the_label_efficiency_of_xrays_asks_for_no_more_images_than_there_are(rows: Any) -> None:
    found = rows("pneumonia", (100, 200, 400), gmcl=0.7)
    (target,) = of(found, "4. GMCL with n labels − standard transforms with 2 n, X-rays")
    assert target.state == MISSED and target.found.count(" − ") == 2


@pytest.mark.parametrize(("attack", "state"), [({}, MET), ({"gmcl": 0.75}, MISSED)])
def test_robustness_is_that_of_pgd_at_two_levels(rows: Any, attack: dict[str, float], state: str) -> None:
    found = [*rows(**attack), *rows("pneumonia", (100, 200, 400), **attack)]
    assert of(found, "4. GMCL − standard transforms, accuracy under PGD 2/255")[0].state == state


@pytest.mark.parametrize(("level", "state"), [(0.80, MET), (0.78, MISSED)])
def test_no_harm_allows_what_the_interval_does(rows: Any, level: float, state: str) -> None:
    found = rows("phantom", (40,), gmcl=level)
    (phantom, volumes) = of(found, "5. ")
    assert phantom.state == state and volumes.state == OPEN and volumes.found == "no runs"


def test_the_shares_are_wanted_of_each_cell(rows: Any) -> None:
    sizes = {"pcam": (100, 250, 500, 1000), "pneumonia": (100, 200, 400)}
    found = [row for data, n in sizes.items() for row in rows(data, n, doubled_batch_split_statistics=0.82)]
    assert of(found, "6. ")[0].state == MET
    assert of([row for row in found if row["n"] != 250], "6. ")[0].found == "6 of 7 cells"
