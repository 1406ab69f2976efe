# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from monai_gmcl.data.tables import read_table
from monai_gmcl.exceptions import DataError

ROWS = [("a.png", "1"), ("b.png", "2")]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_as_offices_write_it(tmp_path: Path, mark: str, encoding: str) -> None:
    lines = [f"image{mark} label ", *(mark.join(row) for row in ROWS), mark, "", mark]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding=encoding)
    table = read_table(tmp_path / "t.csv", ["image", "label"])
    assert table is not None and table.columns == ["image", "label"]
    assert table.rows == [(2 + i, dict(zip(table.columns, row, strict=True))) for i, row in enumerate(ROWS)]


def test_what_stands_between_values_is_what_makes_the_headings(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('image,label,"note (a;b;c;d)"\na.png,1,x;y\n')
    table = read_table(tmp_path / "t.csv", ["image", "label"])
    assert table is not None and table.rows[0][1]["label"] == "1"


def test_headings_match_in_capitals_where_that_leaves_no_doubt(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("IMAGE,Label\na.png,1\n")
    table = read_table(tmp_path / "t.csv", ["image", "label"])
    assert table is not None and (table.column("image"), table.column("label")) == ("IMAGE", "Label")
    (tmp_path / "t.csv").write_text("Image,IMAGE,label\na.png,b.png,1\n")
    with pytest.raises(DataError, match="a column 'image' in .*found two such columns"):
        read_table(tmp_path / "t.csv", ["image"])
