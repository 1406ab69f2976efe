# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_gmcl.benchmark import data_sets
from studies.wrong_labels.wrong_lessons import (
    WEIGHTINGS,
    _with_foreign,
    flipped,
    foreign,
)

WAYS = ("own images", "30 % foreign")


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sets, "HELD_OUT", 20)


def rows_of(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


def test_flipped_labels_are_compared_with_right_ones(folder: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "runs.jsonl"
    flipped(str(folder), n=20, trusted=8, seeds=1, steps=6, report=str(report), channels=1, size=16)
    rows = rows_of(report)
    assert [row["way"] for row in rows] == [
        "right labels, all equal",
        "right labels, by the look-ahead",
        "30 % flipped, all equal",
        "30 % flipped, by the look-ahead",
    ]
    assert [math.isnan(row["told_apart"]) for row in rows] == [True, True, False, False]
    assert rows[2]["told_apart"] == 0.5
    assert all(0 <= row[name] <= 1 for row in rows for name in ("chosen", "final"))
    assert "30 % flipped, by the look-ahead" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_foreign_images_are_compared_with_own_ones(elsewhere: bool, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "runs.jsonl"
    others = str(folder / "test") if elsewhere else None
    foreign(str(folder), others, n=20, seeds=[1], steps=6, report=str(report), channels=1, size=16)
    rows = rows_of(report)
    assert [row["way"] for row in rows] == [f"{pool}, {name}" for pool in WAYS for name in WEIGHTINGS]
    assert [math.isnan(row["told_apart"]) for row in rows] == [True] * 4 + [False] * 4
    assert {row["seed"] for row in rows} == {1}


def test_three_of_ten_images_are_replaced_and_marked() -> None:
    own, others = torch.zeros(20, 1, 4, 4), torch.full((3, 1, 4, 4), 0.5)
    pool, marks = _with_foreign(own, others, seed=0)
    assert (marks == 0).sum() == 6
    assert torch.equal(pool[marks == 0], torch.full((6, 1, 4, 4), 0.5))
    assert torch.equal(pool[marks == 1], own[:14])
    noise = _with_foreign(own, None, seed=0)[0][marks == 0]
    assert noise.std() > 0.2 and noise.min() >= 0 and noise.max() <= 1
    assert torch.equal(own, torch.zeros_like(own))
