# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_one_command_is_the_whole_gate() -> None:
    ran = subprocess.run(["make", "--dry-run", "gate"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for part in ("ruff format", "ruff check", "mypy", "--ignore tests/docs", "2 tests/docs", "2 tests/tutorials"):
        assert part in ran.stdout


def test_the_workflow_runs_the_same_gate_as_a_contributor() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["gate"]["steps"][-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
