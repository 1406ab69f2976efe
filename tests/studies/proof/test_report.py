# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.report.rows import Results
from monai_gmcl.exceptions import ConfigurationError
from studies.proof import report as module
from studies.proof.arms import TITLES
from studies.proof.report import report, write_study_report
from studies.proof.rows import kept_rows, pack, unpack


def summary_of(folder: Path) -> str:
    write_study_report(folder, Results.read(folder, TITLES))
    return (folder / "summary.md").read_text(encoding="utf-8")


def test_the_shares_of_the_gain_add_up(rows: Any, keep: Any) -> None:
    lines = summary_of(keep(rows(sizes=(100, 500), seeds=2))).split("\n")
    share = {}
    for name in ("transform", "structure", "learning", "together"):
        line = next(line for line in lines if line.startswith(f"| {name}"))
        share[name] = float(line.split("| ")[2].split()[0])
    assert share["transform"] + share["structure"] + share["learning"] == pytest.approx(share["together"], abs=0.002)
    assert share["learning"] == pytest.approx(0.01, abs=0.003)


def test_shares_of_the_gain_are_left_out_where_no_two_arms_tell_them(rows: Any, keep: Any) -> None:
    found = [row for row in rows(sizes=(500,), seeds=2) if row["arm"] in ("gmcl", "standard")]
    assert "shares of the gain" not in summary_of(keep(found))


def test_targets_stand_first_and_say_what_was_not_measured(rows: Any, keep: Any) -> None:
    summary = summary_of(keep(rows(sizes=(500,), seeds=1)))
    assert summary.index("## Targets") < summary.index("## pcam, test: AUC") and "not measured" in summary


def test_other_data_sets_have_no_targets(rows: Any, keep: Any) -> None:
    assert "Targets" not in summary_of(keep(rows("own", (40,), seeds=1)))


def test_development_is_not_taken_for_a_test(rows: Any, keep: Any) -> None:
    found = summary_of(keep(rows(sizes=(500,), seeds=1, split="held_out")))
    assert "not on the test set" in found


def test_the_kept_rows_give_the_kept_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = module.FOLDERS["phantom"]
    (tmp_path / "commands.txt").write_bytes((kept / "commands.txt").read_bytes())
    monkeypatch.setitem(module.FOLDERS, "phantom", tmp_path)
    report("phantom")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == (kept / "summary.md").read_text(encoding="utf-8")
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == (kept / "results.csv").read_text(encoding="utf-8")


def test_rows_are_unpacked_as_a_comparison_leaves_them_and_packed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack("phantom", str(tmp_path / "first"))
    files = {file.as_posix() for file, _ in kept_rows("phantom")}
    assert {file.relative_to(tmp_path / "first").as_posix() for file in (tmp_path / "first").rglob("*.json")} == files
    assert any(file.startswith("runs/strengths/") for file in files)
    monkeypatch.setattr("studies.proof.rows.ROWS", tmp_path / "rows.jsonl.xz")
    pack("phantom", str(tmp_path / "first"))
    unpack("phantom", str(tmp_path / "second"))
    same = [filecmp.cmp(tmp_path / "first" / file, tmp_path / "second" / file, shallow=False) for file in files]
    assert all(same)


@pytest.mark.parametrize("part", ["prof", "", "unlabeled_development"])
def test_a_part_that_is_none_is_named(part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"proof, development, phantom, got {part!r}"):
        unpack(part, str(tmp_path))
    with pytest.raises(ConfigurationError, match=f"got {part!r}"):
        pack(part, str(tmp_path))


def test_a_folder_without_runs_takes_nothing_from_the_kept_rows(tmp_path: Path) -> None:
    before = kept_rows("phantom")
    with pytest.raises(ConfigurationError, match="found none"):
        pack("phantom", str(tmp_path))
    assert kept_rows("phantom") == before
