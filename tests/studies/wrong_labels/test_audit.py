# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.grid import read_rows
from studies.wrong_labels.audit import NEEDED, audit, measures


def test_students_that_know_the_classes_rank_and_count_false_labels_rightly() -> None:
    right = torch.arange(200) % 2
    given = torch.where(torch.arange(200) % 10 < 3, 1 - right, right)
    sure = torch.linspace(0.6, 0.99, 200, dtype=torch.float64)
    known = torch.where(right == 1, sure, 1 - sure)
    found = measures(torch.stack([1 - known, known], 1), given, right)
    assert found["ranking"] == found["precision"] == found["students"] == 1
    assert found["share"] == pytest.approx(0.3, abs=0.05) and found["low"] <= found["share"] <= found["high"]
    assert measures(torch.stack([known, 1 - known], 1), given, right)["ranking"] == 0


@pytest.mark.parametrize("variant", ["default", "standard_trusted"])
def test_an_audit_is_run_once(
    variant: str, real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(real_data("pneumonia").parent), tmp_path / "rows.jsonl"
    for _ in range(2):
        own: dict[str, Any] = {"data": "pneumonia", "n": 20, "max_epochs": 1, "seeds": [7], "out": str(out)}
        audit(root, variants=variant, **own)
    (row,) = read_rows(out, NEEDED)
    assert row["epochs"] == 1 and set(row["auc"]) >= {"ranking", "precision", "share"}
    assert "1 runs, 1 of them done" in capsys.readouterr().out
