# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import monai_gmcl

SCRIPT = Path(__file__).with_name("kill_runs.py")


def killed(folder: Path, kills: int, seed: int, *workers: int) -> dict[str, Any]:
    path = os.pathsep.join([str(Path(monai_gmcl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(SCRIPT), str(folder), str(kills), str(seed), *map(str, workers)]
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def assert_as_uninterrupted(found: dict[str, Any], kills: int) -> None:
    assert len(found["parts"]) == kills
    assert {"model", "teacher", "optimizer", "teacher_optimizer", "scheduler", "trainer", "random"} <= set(
        found["compared"]
    )
    assert {
        "handlers",
        "model.pt",
        "teacher.safetensors",
        "curriculum.csv",
        "lesson_weights.csv",
        "label_leak.csv",
    } <= set(found["compared"])
    assert {"curves.png", "report.html", "images/epoch_0002.png", "weights/epoch_0001.png"} <= set(found["compared"])
    assert found["differences"] == []


@pytest.mark.gate
def test_runs_that_are_killed_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    found = killed(tmp_path, 2, 0, 0, 2)
    for workers in ("0", "2"):
        assert_as_uninterrupted(found[workers], 2)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_thirty_kills_leave_no_trace(workers: int, tmp_path: Path) -> None:
    found = killed(tmp_path, 30, 1, workers)[str(workers)]
    assert_as_uninterrupted(found, 30)
    assert set(found["parts"]) == {"rest", "student", "teacher", "save", "files"}
