# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

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
