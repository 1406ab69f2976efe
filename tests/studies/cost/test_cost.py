# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import studies.cost.cost as cost_module
from studies.cost.cost import cost, unlabeled


@pytest.mark.parametrize("kind", ["supervised", "head", "exact"])
def test_the_peak_of_memory_is_measured_in_a_process_of_its_own(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "studies.cost.cost", "peak", kind]
    command += ["resnet18", "2", "16", "2", "3", "2"]
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc/self/status, which this system has not")
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout
    assert float(found.splitlines()[-1]) > 50


@pytest.mark.parametrize("dims", [2, 3])
def test_time_operations_and_memory_stand_beside_a_supervised_iteration(
    dims: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_module, "_peak_in_own_process", lambda kind, settings: 100.0 + len(kind))
    cost(batch=2, size=16, iterations=3, runs=1, channels=1, spatial_dims=dims, out=str(tmp_path / "out"))
    with open(tmp_path / "out" / "cost.csv", newline="") as file:
        rows = {row["trainer"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["supervised", "head", "exact", "forward", "fd"]
    assert {rows["supervised"][name] for name in ("time", "expected", "memory")} == {"1.0"}
    expected = {name: float(row["expected"]) for name, row in rows.items()}
    assert 1 < expected["head"] < expected["fd"] < expected["forward"]
    assert Image.open(tmp_path / "out" / "cost.png").size > (600, 300)
    shape = " x ".join(["1", *["16"] * dims])
    assert f"MONAI resnet18, {shape}, B = 2 (supervised: 4)" in capsys.readouterr().out


def test_unlabeled_images_are_timed_beside_labeled_ones(capsys: pytest.CaptureFixture[str]) -> None:
    unlabeled(batch=2, size=16, iterations=3, runs=2)
    told = re.fullmatch(r"unlabeled: ([\d.]+) times \(([\d.]+) to ([\d.]+) in 2 runs\)\n", capsys.readouterr().out)
    assert told
    median, least, most = map(float, told.groups())
    assert 0 < least <= median <= most
