# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from monai_gmcl.benchmark.report import tables
from monai_gmcl.benchmark.report.rows import Cell, Results

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


def test_arms_have_seeds_mean_deviation_and_their_difference_to_gmcl(results: Results) -> None:
    found = {row[0]: row[1:] for row in tables.arm_table(results, CELL).rows}
    mean, deviation = np.mean(AUCS["strong"]), np.std(AUCS["strong"], ddof=1)
    text = f"{mean:.3f} ± {deviation:.3f}".replace("0.", ".")
    gap = written("strong", "gmcl")
    assert found["strong MONAI transforms"] == ["4", text, gap, text, gap, text, text]
    assert found["GMCL"][2] == "–"


def test_differences_are_to_any_arm_at_each_size_and_pooled(results: Results) -> None:
    found = tables.difference_table(results, [CELL], "doubled_batch", "final").rows
    assert [row[0] for row in found][:2] == ["strong MONAI transforms", "GMCL with a frozen random teacher"]
    assert len(found) == len(AUCS) - 1 and found[2][0] == "GMCL"
    assert found[2][1:] == [written("gmcl", "doubled_batch")] * 2


def test_costs_have_the_tuning_beside_them(rows: Any) -> None:
    results = Results((Path(str(i)), row) for i, row in enumerate(rows(sizes=(500,))))
    found = {row[0]: row[1:] for row in tables.cost_table(results, [CELL]).rows}
    assert found["GMCL"] == ["500", "400", "4.00", "1.00", "–", "30.0", "–", "29.0", "51.2", "1.00", "191"]
    assert found["standard MONAI transforms"][4] == "8.00" and found["standard MONAI transforms"][6] == "60.0"


def test_times_are_those_of_one_kind_of_machine(rows: Any) -> None:
    found = rows(sizes=(500,), seeds=4)
    for row in found:
        if row["seed"] == 0 or row["arm"] == "strong":
            row["machine"], row["cost"]["wall_seconds"] = "a slow machine", 300.0
    results = Results((Path(str(i)), row) for i, row in enumerate(found))
    table = tables.cost_table(results, [CELL])
    walls = {row[0]: row[table.columns.index("wall time, s")] for row in table.rows}
    assert walls["GMCL"] == "30.0" and walls["strong MONAI transforms"] == "–"
    assert "a machine" in table.note
    assert results.machines(CELL, "gmcl", "strong") == ["a slow machine"]


def test_synthetic_images_have_their_diversity_and_how_near_they_are(rows: Any) -> None:
    found = rows(sizes=(500,), seeds=2)
    for row in found:
        if row["arm"] == "gmcl":
            row["synthetic"] = {"diversity": 0.28, "diversity_real": 0.3, "memorization": 0.1}
    table = tables.synthetic_table(Results((Path(str(i)), row) for i, row in enumerate(found)), [CELL])
    (row,) = table.rows
    assert row[0] == "GMCL" and [text[:4] for text in row[2:]] == [".280", ".300", ".100"]
