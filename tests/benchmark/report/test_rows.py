# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.report.rows import TITLES, Cell, Results, score
from monai_gmcl.exceptions import DataError

CELL = Cell("pcam", "test", 500)
OURS, THEIRS = [0.82, 0.85, 0.81, 0.86], [0.80, 0.84, 0.80, 0.82]


def test_differences_are_those_of_a_paired_t_test(results_of: Callable[..., Results]) -> None:
    found = results_of({"gmcl": OURS, "frozen": THEIRS}).difference(CELL, "gmcl", "frozen", *score(CELL))
    expected = stats.ttest_rel(OURS, THEIRS).confidence_interval(0.95)
    assert found is not None and found.pairs == 4
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=1e-12)
    assert found.mean == pytest.approx(np.mean(np.subtract(OURS, THEIRS)))


def test_only_shared_seeds_are_compared(results_of: Callable[..., Results]) -> None:
    results = results_of({"gmcl": OURS, "frozen": THEIRS[:2], "strong": []})
    found = results.difference(CELL, "gmcl", "frozen", *score(CELL))
    assert found is not None and found.pairs == 2 and found.mean == pytest.approx(0.015)
    assert results.difference(CELL, "gmcl", "strong", *score(CELL)) is None


def test_pooling_leaves_out_cells_without_two_shared_seeds(rows: Any) -> None:
    found = [row for row in rows(sizes=(100, 250)) if row["n"] == 100 or row["seed"] == 0]
    results = Results((Path(str(i)), row) for i, row in enumerate(found))
    pooled = results.pooled(results.cells("pcam", "test"), "gmcl", "frozen")
    (alone, _) = results.cells("pcam", "test")
    one = results.difference(alone, "gmcl", "frozen", *score(alone))
    assert pooled is not None and one is not None and (pooled.cells, pooled.pairs) == (1, 4)
    assert (pooled.mean, pooled.low) == pytest.approx((one.mean, one.low))


def test_arms_stand_in_one_order_and_strangers_last(results_of: Callable[..., Results]) -> None:
    found = results_of({"zebra": [0.5], "gmcl": [0.5], "standard": [0.5]})
    assert found.arms() == ["standard", "gmcl", "zebra"]
    assert set(ARMS) <= set(TITLES)


def test_a_study_gives_its_own_order(results_of: Callable[..., Results]) -> None:
    titles = {"zebra": "a zebra", "gmcl": "ours"}
    found = results_of({"zebra": [0.5], "gmcl": [0.5], "standard": [0.5]}, titles=titles)
    assert found.arms() == ["zebra", "gmcl", "standard"]
    assert [found.title(arm) for arm in found.arms()] == ["a zebra", "ours", "standard"]


def test_titles_are_those_of_the_arms_or_else_of_their_rows(rows: Any) -> None:
    made = rows(sizes=(500,), seeds=1, **{"mine:ARM": 0.8})
    for row in made:
        if row["arm"] == "mine:ARM":
            row["title"] = "my arm"
    results = Results((Path(str(i)), row) for i, row in enumerate(made))
    assert results.title("gmcl") == "GMCL" and results.title("a_stranger") == "a stranger"
    assert results.title("mine:ARM") == "my arm"
    assert results.title("strong_tuned_within_budget") == "strong MONAI transforms, tuned within the budget"


def test_parts_are_cells_of_their_own_and_test_comes_first(rows: Any) -> None:
    found = [row for split in ("held_out", "test_shifted", "test") for row in rows(sizes=(100,), split=split)]
    results = Results((Path(str(i)), row) for i, row in enumerate(found))
    assert results.places() == [("pcam", "test"), ("pcam", "test_shifted"), ("pcam", "held_out")]
    assert results.primary_split("pcam") == "test"
    assert results.primary_places() == [("pcam", "test")]


def test_rows_of_older_protocols_are_left_out(rows: Any) -> None:
    old, new = rows(sizes=(500,), gmcl=0.7), rows(sizes=(500,), gmcl=0.9)
    for row in new:
        row["settings"] = {"protocol": 2}
    results = Results((Path(str(i)), row) for i, row in enumerate([*old, *new]))
    assert results.left_out == len(old) == len(results.rows)
    assert results.mean(CELL, "gmcl", *score(CELL)) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("text", "found"),
    [("{", "found invalid JSON: Expecting"), ("[]", "found list"), ('{"n": 1}', "missing: data, seed, arm")],
)
def test_files_that_are_no_runs_are_named(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "broken.json").write_text(text)
    with pytest.raises(DataError, match=rf"broken\.json.*{found}"):
        Results.read(tmp_path)
