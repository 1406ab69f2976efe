# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studies.json_lines import append_row, read_rows, write_rows


def test_a_row_is_a_line_of_output_and_of_the_file(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "rows.jsonl"
    for row in ({"way": "first"}, {"way": "second"}):
        append_row(row, str(file))
    assert file.read_text() == capsys.readouterr().out == '{"way": "first"}\n{"way": "second"}\n'
    assert [json.loads(line)["way"] for line in file.read_text().splitlines()] == ["first", "second"]


def test_without_a_file_a_row_is_only_printed(tmp_path: Path, capsys: Any) -> None:
    append_row({"auc": 0.5}, None)
    assert capsys.readouterr().out == '{"auc": 0.5}\n' and not list(tmp_path.iterdir())


def test_packed_rows_come_back_and_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    rows = [{"way": "first", "auc": 0.1}, {"way": "zweite: ä", "parts": [None, {"a": 1}]}]
    for name in ("rows.jsonl", "rows.jsonl.xz", "again.jsonl.xz"):
        write_rows(tmp_path / name, rows)
        assert read_rows(tmp_path / name) == rows
    assert (tmp_path / "rows.jsonl.xz").read_bytes() == (tmp_path / "again.jsonl.xz").read_bytes()
    assert (tmp_path / "rows.jsonl.xz").read_bytes() != (tmp_path / "rows.jsonl").read_bytes()
