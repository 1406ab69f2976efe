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
from studies.proof.arms import TITLES

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


def test_robustness_tells_its_seeds_and_compares_with_the_same_ones_unchanged(
    results_of: Callable[..., Results],
) -> None:
    results = results_of({"gmcl": [0.9, 0.8, 0.2, 0.1]})
    for row in results.rows[2:]:
        row["robust"] = None
    table = tables.robust_table(results, [CELL])
    (row,) = table.rows
    assert row[table.columns.index("seeds")] == "2"
    assert row[table.columns.index("AUC, unchanged, all images")].startswith(".850 ")


def test_a_gan_has_its_distances_to_real_images_and_its_length(rows: Any) -> None:
    found = rows(sizes=(500,), seeds=2)
    for row in found:
        if row["arm"] == "two_stage_gan":
            kids = {"kid": 0.1, "kid_drawn": 0.2, "kid_real": 0.0, "diversity_real": 0.3, "length": 1938}
            row["synthetic"] = {"diversity": 0.25, "memorization": 0.05, "gan": kids}
        elif row["arm"] == "gmcl":
            row["synthetic"] = {"diversity": 0.28, "diversity_real": 0.3, "memorization": 0.1}
    table = tables.gan_table(Results(((Path(str(i)), row) for i, row in enumerate(found)), TITLES), [CELL])
    texts = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert set(texts) == {"two-stage GAN"}
    gan = texts["two-stage GAN"]
    assert [gan[f"KID of {name}"][:4] for name in ("selected images", "all drawn", "labeled images")] == [
        ".100",
        ".200",
        ".000",
    ]
    assert gan["steps"].replace(",", "") == "1938" and gan["diversity of labeled images"][:4] == ".300"
