# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.exceptions import ConfigurationError, DataError
from studies.wrong_labels.report import page, report
from studies.wrong_labels.run import Job


def row(arm: str, seed: int, auc: float, data: str = "pcam", equal: str = "passes") -> dict[str, Any]:
    job = Job(data, 400, 100, "uniform", 0.3, seed, arm, "held_out", 200, equal)
    found = dict.fromkeys(("final", "chosen", "ema_final", "ema_chosen"), auc)
    return {"settings": job.settings, "auc": found, "commit": "abc", "seconds": 36.0}


ROWS = [row("ours", seed, 0.8 + seed / 100) for seed in (0, 1)] + [row("equal", seed, 0.7) for seed in (0, 1)]


def test_arms_are_compared_by_seed_with_an_interval() -> None:
    found = page(ROWS)
    assert "uniform, 30% false of 400, 100 trusted" in found
    assert "| ours | .805 ± .007 |" in found and "| equal weights | +.105 [+.041, +.169] ▲ |" in found
    assert "| ours | −.105 [−.169, −.041] ▼ |" in page(ROWS, "equal")


def test_single_seeds_have_no_interval_and_runs_of_other_lengths_stand_apart() -> None:
    found = page([*ROWS, row("ours", 0, 0.9, "pneumonia"), row("equal", 0, 0.8, "pneumonia"), row("gce", 0, 0.1)])
    assert "| equal weights | +.103 (1 seed) |" in found
    apart = page([*ROWS, row("gce", 0, 0.1, equal="steps")])
    assert "equal steps" in apart and "| generalized cross-entropy | – |" in apart


def test_rows_of_the_same_run_no_rows_and_an_unknown_arm_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found two of .*'arm': 'ours'"):
        page([*ROWS, ROWS[0]])
    with pytest.raises(DataError, match="found none"):
        report(str(tmp_path / "none.jsonl"), str(tmp_path / "page.md"))
    with pytest.raises(ConfigurationError, match="ours: expected"):
        report(str(tmp_path / "none.jsonl"), str(tmp_path / "page.md"), ours="mine")


def test_the_page_is_written(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS))
    report(str(tmp_path / "rows.jsonl"), str(tmp_path / "page.md"))
    assert "Wrong labels" in (tmp_path / "page.md").read_text()
