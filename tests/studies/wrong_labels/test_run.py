# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studies.grid import read_rows
from studies.wrong_labels.run import NEEDED, Job, run


@pytest.mark.parametrize(
    ("arm", "passes", "steps"), [("equal", 400, 100), ("co_teaching", 200, 100), ("ours", 100, 100)]
)
def test_arms_have_as_many_passes_or_as_many_steps(arm: str, passes: int, steps: int) -> None:
    for equal, wanted in (("passes", passes), ("steps", steps)):
        assert Job("pcam", 400, 100, "uniform", 0.3, 0, arm, "held_out", 100, equal).student_steps == wanted


def test_a_study_goes_on_where_its_rows_end(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(real_data("pneumonia").parent), tmp_path / "rows.jsonl"
    own: dict[str, Any] = {"data": "pneumonia", "n": 40, "trusted": 25, "seeds": [7], "steps": 2, "out": str(out)}
    run(root, arms="equal", shares=[0, 0.3], noises="uniform,by_class", **own)
    first = read_rows(out, NEEDED)
    run(root, arms="equal,ours", shares=[0, 0.3], noises="uniform,by_class", equal="passes,steps", **own)
    rows = read_rows(out, NEEDED)
    assert rows[:3] == first and "9 runs, 3 of them done" in capsys.readouterr().out
    assert len({str(row["settings"]) for row in rows}) == 9
    wrong = {"uniform": round(0.3 * 40), "by_class": round(0.3 * 20)}
    for row in rows:
        own = row["settings"]
        assert row["false"] == (wrong[own["noise"]] if own["share"] else 0)
        assert set(row["auc"]) == {"chosen", "final", "ema_chosen", "ema_final"}
        assert all(0 <= value <= 1 for value in row["auc"].values())
