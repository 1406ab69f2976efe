# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Every kind of bad row and table, one at a time in a good CSV table or JSON datalist."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.data_check import check_source

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path, picture: Callable[..., Path]) -> Rows:
    """Twelve good rows: two classes, four patients."""
    return [
        {
            "image": picture(tmp_path / "images" / f"{index}.png").relative_to(tmp_path).as_posix(),
            "label": ("cat", "dog")[index % 2],
            "patient": f"p{index // 3}",
        }
        for index in range(12)
    ]


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Rows], Path]:
    def write(rows: Rows) -> Path:
        with open(tmp_path / "list.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["image", "label", "patient"])
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / "list.csv"

    return write


@pytest.fixture
def datalist(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        (tmp_path / "list.json").write_text(json.dumps(content))
        return tmp_path / "list.json"

    return write


def _grouped(rows: Rows) -> Rows:
    return [{"image": row["image"], "label": row["label"], "group": row["patient"]} for row in rows]


@pytest.mark.parametrize(
    ("change", "kind", "found", "expected"),
    [
        ({"label": ""}, "row", "{", "an image and a label"),
        ({"image": ""}, "row", "{", "an image and a label"),
        ({"label": "-1"}, "label", "'-1'", "a class (a name, or a whole number of at least 0)"),
        ({"label": "nan"}, "label", "'nan'", "a class (a name, or a whole number of at least 0)"),
        ({"label": "0.5"}, "label", "'0.5'", "a class (a name, or a whole number of at least 0)"),
        ({"patient": ""}, "group", "none", "a group (patient or slide)"),
        ({"image": "images/none.png"}, "missing", "no file '", "an image file"),
        ({"image": "images"}, "missing", "no file '", "an image file"),
        ({"image": "x" * 300}, "missing", "a path that cannot be opened (", "an image file"),
        ({"image": "a\0b.png"}, "missing", "no file '", "an image file"),
    ],
)
def test_a_bad_row_of_a_table_is_an_error_that_names_it(
    rows: Rows, table: Callable[[Rows], Path], change: dict[str, str], kind: str, found: str, expected: str
) -> None:
    rows[4].update(change)
    report = check_source(table(rows), group_column="patient")
    (fault,) = report.errors
    assert (fault.kind, fault.row, fault.expected) == (kind, 6, expected)
    assert fault.found.startswith(found)
    assert report.images == 11
    assert any(line.startswith("error") and "list.csv, row 6" in line for line in report.table().splitlines())


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (-1, "-1"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (True, "True"),
        ({"a": 1}, "{'a': 1}"),
        ([0, 2], "[0, 2]"),
        ([0, "x"], "[0, 'x']"),
        ([[1]], "[[1]]"),
    ],
)
def test_a_bad_label_of_a_json_datalist_is_an_error_that_shows_it(
    rows: Rows, datalist: Callable[[Any], Path], label: Any, found: str
) -> None:
    rows[4]["label"] = label
    (fault,) = check_source(datalist({"training": rows})).errors
    assert (fault.kind, fault.row, fault.found) == ("label", 5, found)


def test_a_label_outside_the_given_classes_is_an_error(rows: Rows, table: Callable[[Rows], Path]) -> None:
    rows[3]["label"] = "horse"
    (fault,) = check_source(table(rows), class_names=["cat", "dog"]).errors
    assert (fault.kind, fault.row, fault.found) == ("label", 5, "'horse'")
    assert fault.expected == "one of the classes cat, dog"
    report = check_source(table(rows))
    assert [(fault.kind, fault.expected) for fault in report.faults] == [
        ("single_image", "several images of 'horse' in training")
    ]


def test_a_class_without_images_is_an_error(rows: Rows, table: Callable[[Rows], Path]) -> None:
    (fault,) = check_source(table(rows), class_names=["cat", "cow", "dog"]).errors
    assert (fault.kind, fault.expected, fault.found) == ("empty_class", "images of 'cow' in training", "none")


def test_one_class_by_two_spellings_is_warned_of(rows: Rows, table: Callable[[Rows], Path]) -> None:
    for row in rows[::4]:
        row["label"] = "Cat"
    (fault,) = check_source(table(rows)).faults
    assert (fault.kind, fault.found, fault.is_error) == ("similar_names", "'Cat' and 'cat'", False)


def test_a_row_with_a_value_too_many_is_an_error(rows: Rows, table: Callable[[Rows], Path]) -> None:
    path = table(rows)
    path.write_text(path.read_text().replace("2.png,cat", "2.png,grey,cat"))
    (fault,) = check_source(path).errors
    assert (fault.kind, fault.row, fault.expected) == ("row", 4, "3 values")
    assert fault.found == "4: 'p0' has no column"


def test_a_file_listed_twice_is_a_warning_or_with_two_labels_an_error(
    rows: Rows, table: Callable[[Rows], Path]
) -> None:
    (fault,) = check_source(table([*rows, rows[2]])).faults
    assert (fault.kind, fault.found) == ("duplicate", "the same file twice")
    (fault,) = check_source(table([*rows, {**rows[2], "label": "dog"}])).faults
    assert (fault.kind, fault.found) == ("two_labels", "the same file labeled 0 and 1")


def test_a_path_that_climbs_out_of_the_tables_folder_is_warned_of(
    rows: Rows, table: Callable[[Rows], Path], tmp_path: Path, picture: Callable[..., Path]
) -> None:
    path = table(rows)
    outside = picture(tmp_path.parent / f"{tmp_path.name}_outside.png")
    rows[0]["image"] = f"../{outside.name}"
    (fault,) = check_source(table(rows)).faults
    assert (fault.kind, fault.found) == ("outside", repr(str(outside.resolve())))
    rows[0]["image"] = str(outside)
    assert check_source(table(rows)).faults == (), "An absolute path is meant."
    assert path.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "found none; expected a column 'image'"),
        (b"file,label\n", "found file, label; expected a column 'image'"),
        (b"image,label,label\n", "found two such columns; expected a column 'label'"),
        (b"image,label\n", "found none; expected at least one image"),
        (b"image,label\n\xff\xfe\xfd,x\n", "expected a CSV table in UTF-8"),
        (b"image,label\n" + b"a" * 200000 + b",x\n", "found none: field larger than field limit"),
        (b"\x93NUMPY\x01\x00", "expected a CSV table in UTF-8"),
    ],
)
def test_what_is_no_table_is_an_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    report = check_source(tmp_path / "list.csv")
    assert [fault.kind for fault in report.errors] == ["table"] and told in report.table()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "found none: Expecting value"),
        (b"{", "found none: Expecting property name"),
        (b"[]", "found list; expected a list 'training'"),
        (b'"training"', "found str; expected a list 'training'"),
        (b'{"train": []}', "found none; expected at least one image"),
        (b'{"images": []}', "found images; expected a list 'training'"),
        (b'{"training": {}}', "found training; expected a list 'training'"),
        (b'{"training": []}', "found none; expected at least one image"),
        (b'{"training": [' + b"1" * 5000 + b"]}", "found none: Exceeds the limit"),
        (b"[" * 100000, "found none: maximum recursion depth"),
        (b"\xff\xfe", "expected JSON"),
    ],
)
def test_what_is_no_datalist_is_an_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "list.json").write_bytes(content)
    report = check_source(tmp_path / "list.json")
    assert [fault.kind for fault in report.errors] == ["table"] and told in report.table()


def test_no_table_and_another_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "list.xlsx").touch()
    for name, found in (("none.csv", "no file"), ("none.json", "no file"), ("list.xlsx", "another file")):
        (fault,) = check_source(tmp_path / name).errors
        assert (fault.kind, fault.file, fault.found) == ("missing", str(tmp_path / name), found)


def test_lists_of_a_datalist_are_compared_with_each_other(
    rows: Rows, datalist: Callable[[Any], Path], tmp_path: Path
) -> None:
    rows = _grouped(rows)
    assert check_source(datalist({"training": rows[:6], "validation": rows[6:]})).faults == ()
    shutil.copy(tmp_path / rows[0]["image"], tmp_path / "images" / "copy.png")
    copy = {"image": "images/copy.png", "label": "cat", "group": "p9"}
    report = check_source(datalist({"training": rows[:7], "validation": [*rows[7:], copy]}))
    assert [(fault.kind, Path(fault.file).name) for fault in report.faults] == [
        ("leak", "copy.png"),
        ("group_leak", "7.png"),
    ]
    assert report.faults[1].found == "'p2' also in training"


def test_a_class_that_validation_lacks_or_has_alone_is_told_of(rows: Rows, datalist: Callable[[Any], Path]) -> None:
    cats = [row for row in rows if row["label"] == "cat"]
    report = check_source(datalist({"training": rows[6:], "validation": cats[:3]}))
    assert [(fault.kind, fault.expected) for fault in report.faults] == [
        ("absent_class", "images of 'dog' in validation")
    ]
    report = check_source(datalist({"training": cats[3:], "validation": rows[:6]}))
    assert {(fault.kind, fault.expected) for fault in report.faults} == {("label", "one of the classes cat")}


def test_a_list_without_labels_is_not_read_and_that_is_told(rows: Rows, datalist: Callable[[Any], Path]) -> None:
    paths = [row["image"] for row in rows]
    report = check_source(datalist({"training": rows, "test": paths[:3], "name": "animals", "numTraining": 12}))
    assert [(fault.kind, fault.found) for fault in report.faults] == [("unread_list", "3 images without labels")]
    assert report.faults[0].expected == "labels in the list 'test'"
