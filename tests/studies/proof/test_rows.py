# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest

from studies.proof.rows import kept_rows, pack, unpack


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
