# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows that are kept of a study give its kept report, byte for byte: every number in it is computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import studies
from monai_gmcl.exceptions import DataError
from studies import json_lines
from studies.policies.report import report as policies
from studies.proof import report as proof
from studies.segmentation.report import report as segmentation
from studies.wrong_labels.report import report as wrong_labels

ROOT = Path(studies.__file__).parent
PAGES = [(policies, "policies", "rows"), (segmentation, "segmentation", "rows"), (wrong_labels, "wrong_labels", "test")]


@pytest.mark.parametrize(("report", "study", "rows"), PAGES)
def test_a_page_is_that_of_its_rows(report: Callable[..., None], study: str, rows: str, tmp_path: Path) -> None:
    report(str(ROOT / study / f"{rows}.jsonl"), str(tmp_path / "page.md"))
    assert (tmp_path / "page.md").read_bytes() == (ROOT / study / "report.md").read_bytes()


@pytest.mark.parametrize("report", [page[0] for page in PAGES])
def test_a_page_without_rows_is_refused(report: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(DataError, match="Expected rows .*found none"):
        report(str(tmp_path / "rows.jsonl"), str(tmp_path / "page.md"))


# The proof's own part draws for half a minute.
@pytest.mark.parametrize("part", ["phantom", "development", pytest.param("proof", marks=pytest.mark.gate)])
def test_the_report_of_the_proof_is_that_of_its_rows(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = proof.FOLDERS[part]
    for name in ("commands.txt", "note.txt"):
        if (kept / name).exists():
            (tmp_path / name).write_bytes((kept / name).read_bytes())
    monkeypatch.setitem(proof.FOLDERS, part, tmp_path)
    proof.report(part)
    for name in ("summary.md", "results.csv"):
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes()


@pytest.mark.parametrize(("study", "count"), [("proof", 1829), ("wrong_labels", 102), ("random_policies", 100)])
def test_all_rows_are_kept(study: str, count: int) -> None:
    assert len(json_lines.read_rows(ROOT / study / "rows.jsonl.xz")) == count
