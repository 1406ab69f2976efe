# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import filecmp
import json
from pathlib import Path

import pytest

from studies.proof.rows import kept_rows, pack, unpack
from studies.proof.run import run


def test_a_grid_of_the_proof_is_run_attacked_where_asked_for_and_reported(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = {"n": 8, "seeds": 1, "steps": 4, "splits": "test", "channels": 1, "size": 16, "workers": 1}
    run(str(folder), str(out), arms=["gmcl", "none"], **own)  # type: ignore[arg-type]
    plain = {row["arm"]: row for row in map(json.loads, (file.read_text() for file in (out / "runs").glob("*.json")))}
    assert set(plain) == {"gmcl", "none"} and not any("robust" in row for row in plain.values())
    run(str(folder), str(out), arms=["gmcl", "none", "two_stage_gan"], robust=True, **own)  # type: ignore[arg-type]
    rows = {row["arm"]: row for row in map(json.loads, (file.read_text() for file in (out / "runs").glob("*.json")))}
    assert rows["gmcl"]["measures"] == plain["gmcl"]["measures"] and "robust" not in rows["none"]
    assert 0 <= rows["gmcl"]["robust"]["pgd"]["4/255"] <= rows["gmcl"]["robust"]["accuracy"] <= 1
    gan = rows["two_stage_gan"]
    assert gan["synthetic"]["gan"]["length"] == 2 * gan["settings"]["steps"] * gan["settings"]["strength"]
    assert gan["cost"]["tuning"]["flops"] > 0
    assert len(list((out / "pictures").glob("shades-n8-two_stage_gan-s0-*-samples.png"))) == 3
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert "shades: Images of the GAN" in summary and "shades: Accuracy under attack, AUC under shifts" in summary
    assert "python -m studies.proof.run" in summary


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
