# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.report.rows import Results
from monai_gmcl.benchmark.report.targets import MISSED, OPEN, REACHED, Target, targets


def of(found: list[dict[str, Any]], start: str) -> list[Target]:
    kept = targets(Results((Path(str(i)), row) for i, row in enumerate(found)))
    return [target for target in kept if target.what.startswith(start)]


@pytest.mark.parametrize(("level", "state"), [(0.84, REACHED), (0.815, MISSED)])
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


@pytest.mark.parametrize(("level", "state"), [(0.808, REACHED), (0.80, MISSED)])
def test_on_xrays_the_better_of_the_plain_arms_may_be_a_little_above(rows: Any, level: float, state: str) -> None:
    (target,) = of(rows("pneumonia", (100, 200, 400), gmcl=level), "1. GMCL − the better of both, X-rays (test)")
    assert target.state == state


@pytest.mark.parametrize(("level", "state"), [(0.84, REACHED), (0.829, MISSED)])
def test_the_share_of_learning_is_pooled_over_sizes_and_data_sets(rows: Any, level: float, state: str) -> None:
    found = [*rows(gmcl=level), *rows("pneumonia", (100, 200, 400), gmcl=level)]
    (target,) = of(found, "3. GMCL − frozen teacher, at the usual start")
    assert target.state == state and "7 of 7 cells" in target.found


def test_time_counts_tuning(rows: Any) -> None:
    found = [*rows(), *rows("pneumonia", (100, 200, 400))]
    for row in found:
        if row["arm"] == "two_stage_gan":
            row["cost"]["tuning"] = {"wall_seconds": 90.0}
    (target,) = of(found, "2. GMCL's time")
    assert target.state == REACHED and ".25" in target.found


def test_labels_are_saved_where_half_of_them_do(rows: Any) -> None:
    (target,) = of(rows(sizes=(50, 100, 200)), "4. GMCL with n labels − standard transforms with 2 n, PCam")
    assert target.state == REACHED and "50 − 100: +" in target.found
    (target,) = of(rows(sizes=(50, 100, 200), gmcl=0.7), "4. GMCL with n labels − standard transforms with 2 n, PCam")
    assert target.state in (MISSED, OPEN) and "50 − 100: −" in target.found
