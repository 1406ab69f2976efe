# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Events

from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from studies.imbalance.run import MEASURES, WAYS, _recall, imbalance


def test_every_way_is_run_and_reported(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = str(tmp_path / "runs.jsonl")
    imbalance(str(folder), common=20, rare=4, seeds=1, steps=3, channels=1, size=16, report=report)
    rows = [json.loads(line) for line in Path(report).read_text().splitlines()]
    assert [row["way"] for row in rows] == list(WAYS)
    assert all(0 <= row[name] <= 1 for row in rows for name in MEASURES)
    assert "specificity   recall at .9" in capsys.readouterr().out


def drawn_by(way: str, folder: Path) -> torch.Tensor:
    """Classes of the real images of a short run, or of its lessons, where there are any."""
    options = DataOptions(str(folder), 1, size=16)
    images, labels = BenchmarkData(options).draw(20, 0)[0]
    few = torch.cat([torch.nonzero(labels == 0)[:, 0], torch.nonzero(labels == 1)[:2, 0]])
    run = StudentRun(WAYS[way][0], options, (images[few], labels[few]), (images, labels), 0, 30)
    seen: list[torch.Tensor] = []
    key = "synthetic_label" if way.startswith("GMCL") else "label"
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output[key]))
    run.run()
    return torch.cat(seen)


@pytest.mark.parametrize(("way", "share"), [(way, 0.5 if "balanced" in way else 2 / 22) for way in list(WAYS)[:4]])
def test_the_rare_class_comes_as_often_as_the_way_says(way: str, share: float, folder: Path) -> None:
    assert drawn_by(way, folder).float().mean().item() == pytest.approx(share, abs=0.05)


def test_recall_is_read_where_the_others_are_below_the_threshold() -> None:
    labels = torch.tensor([0] * 10 + [1] * 4)
    scores = torch.tensor([*(0.1 * i for i in range(10)), 0.2, 0.85, 0.95, 0.99])
    assert _recall(scores, labels, specificity=0.9) == 0.75
    assert _recall(scores, labels, specificity=1.0) == 0.5
