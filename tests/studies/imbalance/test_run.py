# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from studies.imbalance.run import MEASURES, WAYS, _recall, imbalance


def test_every_way_is_run_and_reported(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = str(tmp_path / "runs.jsonl")
    imbalance(str(folder), common=20, rare=4, seeds=1, steps=3, channels=1, size=16, report=report)
    rows = [json.loads(line) for line in Path(report).read_text().splitlines()]
    assert [row["way"] for row in rows] == list(WAYS)
    assert all(0 <= row[name] <= 1 for row in rows for name in MEASURES)
    assert "specificity   recall at .9" in capsys.readouterr().out


def test_recall_is_read_where_the_others_are_below_the_threshold() -> None:
    labels = torch.tensor([0] * 10 + [1] * 4)
    scores = torch.tensor([*(0.1 * i for i in range(10)), 0.2, 0.85, 0.95, 0.99])
    assert _recall(scores, labels, specificity=0.9) == 0.75
    assert _recall(scores, labels, specificity=1.0) == 0.5
