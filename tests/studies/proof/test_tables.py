# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from monai_gmcl.benchmark.report.rows import Cell, Results
from studies.proof import tables

CELL = Cell("pcam", "test", 500)
AUCS = {
    "strong": [0.78, 0.80, 0.79, 0.83],
    "doubled_batch": [0.80, 0.81, 0.82, 0.83],
    "doubled_batch_split_statistics": [0.81, 0.80, 0.83, 0.84],
    "frozen": [0.82, 0.84, 0.83, 0.85],
    "gmcl": [0.83, 0.86, 0.83, 0.87],
}


def written(ours: str, theirs: str) -> str:
    """The difference of two arms by scipy, as the report writes it."""
    low, high = stats.ttest_rel(AUCS[ours], AUCS[theirs]).confidence_interval(0.95)
    mark = " ▲" if low > 0 else " ▼" if high < 0 else ""
    text = f"{np.mean(np.subtract(AUCS[ours], AUCS[theirs])):+.3f} [{low:+.3f}, {high:+.3f}]{mark}"
    return text.replace("0.", ".").replace("-", "−")


@pytest.fixture
def results(results_of: Callable[..., Results]) -> Results:
    return results_of(AUCS)


def test_shares_have_the_intervals_of_paired_t_tests(results: Results) -> None:
    found = [row[1] for row in tables.share_table(results, [CELL], "chosen").rows]
    pairs = [("doubled_batch", "strong"), ("frozen", "doubled_batch")]
    pairs += [("doubled_batch_split_statistics", "doubled_batch"), ("gmcl", "frozen"), ("gmcl", "strong")]
    assert found == [written(*pair) for pair in pairs]


def test_gmcl_is_held_against_each_other_method_at_both_checkpoints(results: Results) -> None:
    found = {row[0]: row[1:] for row in tables.pooled_table(results, [CELL]).rows}
    assert list(found) == [results.title(arm) for arm in results.arms([CELL]) if arm != "gmcl"]
    assert found[results.title("strong")][0] == written("gmcl", "strong")


def test_a_share_without_runs_is_a_dash(results_of: Callable[..., Results]) -> None:
    found = tables.share_table(results_of({"gmcl": [0.8], "frozen": [0.7]}), [CELL], "chosen").rows
    assert [row[1] for row in found] == ["–", "–", "–", "+.100 (1 seed)", "–"]


def test_robustness_lists_only_arms_that_were_attacked(rows: Any) -> None:
    results = Results((Path(str(i)), row) for i, row in enumerate(rows(sizes=(500,))))
    table = tables.robust_table(results, [CELL])
    assert [row[0] for row in table.rows] == ["standard MONAI transforms", "GMCL"]
    assert table.rows[0][table.columns.index("PGD 2/255")].startswith((".49", ".50"))
    assert table.rows[0][table.columns.index("PGD 4/255")] == "–"
