# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.exceptions import DataError
from studies.policies.arms import ARMS
from studies.policies.claims import claims
from studies.policies.report import page, report
from studies.policies.rows import Cell, Results
from studies.policies.tasks import TASKS

GRADE = "grade of the phantom"
Row = dict[str, Any]


def row(task: str, arm: str, seed: int, auc: float, n: int = 150, steps: int = 800, part: str = "held_out") -> Row:
    """A run; its seed is worth .01, and GMCL has turned down what is harmful."""
    own = {"task": task, "n": n, "seed": seed, "arm": arm, "part": part, "steps": steps}
    found: Row = {"settings": own, "commit": "abc", "seconds": 36.0}
    found["auc"] = dict.fromkeys(("final", "chosen", "ema_final", "ema_chosen"), auc + 0.01 * seed)
    if arm == "gmcl":
        harmful = TASKS[task].harmful
        found["policy"] = {
            name: {"relative": 0.1 if name in harmful else 1.0} for name in (*harmful, "shear", "elastic")
        }
    return found


def whole(auc: Callable[[str, str, int], float], seeds: int = 3) -> list[Row]:
    """All runs of the study."""
    return [
        row(task, arm, seed, auc(task, arm, seed), n)
        for task in TASKS
        for n in (150, 400)
        for arm in ARMS
        if ARMS[arm].suits(TASKS[task])
        for seed in range(seeds)
    ]


def good(task: str, arm: str, seed: int) -> float:
    if TASKS[task].is_control:
        return 0.8
    return {"gmcl": 0.9, "oracle": 0.9}.get(arm, 0.8) + 0.001 * (seed if arm == "gmcl" else 0)


def verdicts(rows: list[Row]) -> dict[str, str]:
    return {check.text: check.verdict for check in claims(Results(rows))}


def test_a_study_that_reaches_everything_meets_every_claim() -> None:
    found = verdicts(whole(good))
    assert set(found.values()) == {"met"} and len(found) > 30


@pytest.mark.parametrize(
    ("arm", "task", "auc", "claim"),
    [
        ("frozen", None, 0.87, "GMCL − frozen at least +.040, interval above 0 (last)"),
        ("strong_equal_compute", None, 0.95, "GMCL − strong transforms, equal compute, interval above 0 (last)"),
        ("none", "focus", 0.91, "GMCL in no task below none (last)"),
        ("oracle", "scale", 0.93, "GMCL within .01 of the oracle in each task (best-validation)"),
        ("trivial_augment", "turned", 0.92, "GMCL in no task below the best of them by more than .01 (last)"),
        (
            "standard",
            "phantom",
            0.81,
            f"control: {GRADE}: GMCL − the better of standard and frozen at least −.005 (last)",
        ),
    ],
)
def test_what_is_not_reached_is_missed(arm: str, task: str | None, auc: float, claim: str) -> None:
    rows = whole(lambda t, a, s: auc if a == arm and t in (task or t, t if task is None else task) else good(t, a, s))
    assert verdicts(rows)[claim] == "missed"


def test_part_of_a_study_decides_nothing() -> None:
    rows = [one for one in whole(good) if one["settings"]["task"] in ("stain", "pcam")]
    found = verdicts(rows)
    assert not {"met", "missed"} & {told for text, told in found.items() if not text.startswith("control")}
    assert found["GMCL in no task below none (last)"] == "met so far"
    assert set(verdicts([row("stain", "none", 0, 0.8)]).values()) == {"open"}


def test_missing_runs_are_named_and_those_that_do_not_suit_are_not_missed() -> None:
    rows = whole(good)
    lost = {"task": "stain", "n": 400, "seed": 2, "arm": "strong"}
    kept = [one for one in rows if not lost.items() <= one["settings"].items()]
    assert len(kept) == len(rows) - 1 and Results(rows).missing() == []
    assert Results(kept).missing() == [(Cell("stain", 400), "strong", [2])]
    assert "- stain, n = 400, strong: seeds 2" in page(kept)


def test_the_page_is_written_from_several_files_and_none_is_refused(tmp_path: Path) -> None:
    for name, arm in (("a", "none"), ("b", "gmcl")):
        (tmp_path / name).write_text(json.dumps(row("turned", arm, 0, 0.8)) + "\n")
    report(f"{tmp_path / 'a'},{tmp_path / 'b'}", str(tmp_path / "page.md"))
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| no augmentation | .800 |" in text and "| rotation | harmful | 0.10 |" in text.replace("| .10", "| 0.10")
    with pytest.raises(DataError, match="found none"):
        report(str(tmp_path / "other"), str(tmp_path / "page.md"))
