# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.exceptions import ConfigurationError, DataError
from studies.grid import read_rows
from studies.policies.jobs import jobs_of
from studies.policies.rows import NEEDED
from studies.policies.run import run


def test_a_task_has_its_own_number_of_steps_unless_one_is_given() -> None:
    own = {
        "arms": ["gmcl"],
        "n": [40],
        "seeds": [0],
        "part": "held_out",
        "ratios": {"pcam": 2.5, "pcam_pretrained": 2.5},
    }
    for steps, wanted in ((None, [800, 150]), (3, [3, 3])):
        assert [job.student_steps for job in jobs_of(["pcam", "pcam_pretrained"], steps=steps, **own)] == wanted


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tasks": "stain,grain"}, "tasks: expected stain, .*got 'grain'"),
        ({"arms": ["magic"]}, "arms: expected none, .*got 'magic'"),
        ({"part": "train"}, "part: expected held_out, test, got 'train'"),
        ({"tasks": "stain,stain"}, "tasks: expected each name once"),
        ({"workers": 0}, "Expected steps, workers and n from 1"),
        ({"seeds": 0}, "seeds from 0"),
        ({"n": [40, 0]}, "Expected steps, workers and n from 1"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        run(str(tmp_path), **given, out=str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("line", ['{"settings": {"task": "st', "[]\n", '{"settings": {"task": "stain"}}\n'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    own = {"task": "stain", "n": 4, "seed": 0, "arm": "none", "part": "held_out", "steps": 2}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"settings": own}) + "\n" + line)
    with pytest.raises(DataError, match="line 2: expected the row of a run"):
        read_rows(file, NEEDED)


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
