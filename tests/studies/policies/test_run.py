# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studies.grid import read_rows
from studies.policies.rows import NEEDED
from studies.policies.run import run


def test_a_study_goes_on_where_its_rows_end(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(real_data("pneumonia").parent), tmp_path / "rows.jsonl"
    own: dict[str, Any] = {"n": 20, "seeds": 1, "steps": 3, "out": str(out)}
    run(root, "turned", "none,gmcl", **own)
    first = read_rows(out, NEEDED)
    run(root, "turned", "none,gmcl,frozen,standard_equal_compute", **own)
    rows = read_rows(out, NEEDED)
    assert rows[:2] == first and "4 runs, 2 of them done" in capsys.readouterr().out
    by_arm = {row["settings"]["arm"]: row for row in rows}
    assert len(rows) == len(by_arm) == 4
    for row in rows:
        assert set(row["auc"]) == {"chosen", "final", "ema_chosen", "ema_final"} and row["commit"]
        assert all(0 <= value <= 1 for value in row["auc"].values()) and row["seconds"] > 0
        assert row["settings"]["part"] == "held_out" and row["settings"]["learning_rate"] == 2e-3
    assert by_arm["standard_equal_compute"]["student_steps"] > 3 == by_arm["gmcl"]["student_steps"]
    assert "policy" not in by_arm["none"] and by_arm["frozen"]["teacher_optimizer"] is None
    assert by_arm["gmcl"]["teacher_optimizer"]["name"] and by_arm["gmcl"]["difficulty"] > 0
    assert {"rotation", "flip"} <= set(by_arm["gmcl"]["policy"])
    assert all(entry["relative"] == pytest.approx(1) for entry in by_arm["frozen"]["policy"].values())
