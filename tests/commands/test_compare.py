# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.grid import Job, run_jobs
from monai_gmcl.commands.compare import compare
from monai_gmcl.commands.report import report
from monai_gmcl.data import make_mask_phantom


@pytest.mark.gate
def test_a_grid_is_run_kept_and_gone_on_with(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = {"n": 8, "seeds": 1, "steps": 4, "channels": 1, "size": 16, "workers": 1}
    compare(str(folder), str(out), arms=("standard", "gmcl"), **arguments)  # type: ignore[arg-type]
    assert "a GMCL iteration costs 2." in capsys.readouterr().out
    rows = [json.loads(file.read_text()) for file in sorted((out / "runs").glob("*.json"))]
    assert [row["arm"] for row in rows] == ["gmcl", "standard"]
    assert len(list((out / "runs" / "strengths").glob("*.json"))) == 3
    assert (out / "report.html").is_file() and (out / "summary.md").is_file()
    assert (out / rows[0]["picture"]).is_file()
    before = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*gmcl*.json")}
    compare(str(folder), str(out), arms=("gmcl", "trivial_augment"), **arguments)  # type: ignore[arg-type]
    assert len(list((out / "runs").glob("*.json"))) == 3
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    commands = (out / "commands.txt").read_text().splitlines()
    assert len(commands) == 2
    assert shlex.split(commands[1])[:6] == ["python", "-m", "monai_gmcl", "compare", "--data_dir", str(folder)]
    page = html.unescape((out / "report.html").read_text())
    assert all(line in page for line in commands)


@pytest.mark.gate
def test_a_grid_that_was_stopped_is_reported_with_the_strengths_that_are_complete(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stopped(*arguments: Any) -> Iterator[Job]:
        for job in run_jobs(*arguments):
            yield job
            if len(list((out / "runs" / "strengths").glob("*.json"))) == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr("monai_gmcl.benchmark.comparison.run_jobs", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(str(folder), str(out), 8, ("standard", "trivial_augment"), 1, 4, channels=1, size=16, workers=1)
    (file,) = (out / "runs").glob("*.json")
    assert json.loads(file.read_text())["arm"] == "standard"
    report(str(out))
    assert "Not run: standard MONAI transforms, tuned within the budget; " in (out / "report.html").read_text()


@pytest.mark.gate
@pytest.mark.parametrize("given", ["gmcl,own_arms:PLAIN", ["own_arms:PLAIN", "gmcl"]])
def test_an_arm_of_ones_own_is_compared_by_its_module_and_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    lines = ["from monai.engines import SupervisedTrainer", "from monai_gmcl.benchmark.arm import Arm"]
    lines += ["PLAIN = Arm('nothing at all', lambda setup: SupervisedTrainer(**setup.arguments(lambda image: image)))"]
    (tmp_path / "own_arms.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    compare(str(folder), str(tmp_path / "out"), 8, given, 1, 4, channels=1, size=16, workers=1)
    rows = [json.loads(file.read_text()) for file in sorted((tmp_path / "out" / "runs").glob("*.json"))]
    assert sorted(row["arm"] for row in rows) == ["gmcl", "own_arms:PLAIN"]
    assert "nothing at all" in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")


@pytest.mark.gate
def test_images_with_masks_are_compared_by_their_dice(tmp_path: Path) -> None:
    phantom = make_mask_phantom(tmp_path / "nuclei", {"train": 3, "valid": 1, "test": 1}, size=32)
    out, arms = tmp_path / "out", ("strong", "trivial_augment", "frozen", "gmcl")
    compare(str(phantom), str(out), 2, arms, 1, 4, patch=16, workers=1)
    rows = [json.loads(file.read_text()) for file in sorted((out / "runs").glob("*.json"))]
    assert [row["arm"] for row in rows] == ["frozen", "gmcl", "strong", "trivial_augment"]
    assert all(0 <= row["measures"]["held_out"]["final"]["dice"] <= 1 for row in rows)
    assert all(row["valid_dice"]["chosen"] >= row["valid_dice"]["final"] for row in rows)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "nuclei, held out: Dice" in page and "IoU</th>" in page and "AUC" not in page
