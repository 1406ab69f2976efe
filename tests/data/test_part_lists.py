# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monai_gmcl.data.faults import Fault, stop
from monai_gmcl.data.opening import LabeledData, open_data
from monai_gmcl.data.part_lists import is_trusted
from monai_gmcl.exceptions import DataError

Write = Callable[..., Path]
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path, write_image: Write) -> Rows:
    """Twenty images of two classes, the first six of them trusted."""
    return [
        {
            "image": write_image(tmp_path / "images" / f"{index}.png", (index, 9, 9)).relative_to(tmp_path).as_posix(),
            "label": "ab"[index % 2],
            "trusted": "yes" if index < 6 else "no",
        }
        for index in range(20)
    ]


@pytest.fixture(params=["csv", "json"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., LabeledData]:
    """Open rows as a table or as a list."""

    def open_rows(rows: Rows, **options: Any) -> LabeledData:
        path = tmp_path / f"data.{request.param}"
        if request.param == "json":
            path.write_text(json.dumps({"training": rows}))
        else:
            with path.open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
        return open_data(path, **options)

    return open_rows


def names(items: Rows) -> set[str]:
    return {Path(item["image"]).name for item in items}


@pytest.mark.parametrize("check", [True, False])
def test_trusted_images_come_into_no_other_part(opened: Callable[..., LabeledData], rows: Rows, check: bool) -> None:
    data = opened(rows, check=check)
    assert names(data.trusted) == {f"{index}.png" for index in range(6)}
    assert [item["label"] for item in data.trusted] == [0, 1] * 3
    others = [*data.training, *data.validation, *data.test]
    assert len(others) == 14 and not names(others) & names(data.trusted)


def test_without_the_column_there_are_none(opened: Callable[..., LabeledData], rows: Rows) -> None:
    data = opened([{"image": row["image"], "label": row["label"]} for row in rows])
    assert data.trusted == [] and len(data.training) == 12


def test_a_column_that_says_no_everywhere_is_warned_of(
    opened: Callable[..., LabeledData], rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert opened([{**row, "trusted": "no"} for row in rows]).trusted == []
    assert "Expected at least one yes in the column 'trusted'" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row, index: {**row, "trusted": "maybe" if index == 3 else row["trusted"]},
            "1 or 0 in the column 'trusted'.*'maybe'",
        ),
        (lambda row, index: {**row, "label": "a" if index < 6 else row["label"]}, "images of 'b' in trusted"),
        (lambda row, index: {**row, "trusted": "yes"}, "found none|not trusted"),
        (
            lambda row, index: {**row, "group": f"patient {index % 7}"},
            "a patient or slide that only the part trusted has",
        ),
    ],
    ids=["neither yes nor no", "a class missing", "nothing to train on", "a patient of training"],
)
def test_what_cannot_be_is_an_error(
    opened: Callable[..., LabeledData], rows: Rows, change: Callable[..., Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        opened([change(row, index) for index, row in enumerate(rows)])


@pytest.mark.parametrize("label", ["a", "b"])
def test_a_trusted_image_that_stands_in_training_too_is_an_error(
    opened: Callable[..., LabeledData], rows: Rows, label: str, tmp_path: Path
) -> None:
    # Of a single color only the same file counts as the same image.
    for name in ("0.png", "copy.png"):
        Image.linear_gradient("L").save(tmp_path / "images" / name)
    with pytest.raises(DataError, match="images that only the part trusted has") as error:
        opened([*rows, {"image": "images/copy.png", "label": label, "trusted": "no"}])
    assert ("label" in str(error.value).split("in training")[1].split(".")[0]) == (label == "b")


def test_rows_of_validation_and_test_cannot_be_trusted(tmp_path: Path, rows: Rows) -> None:
    lists = {"training": rows[6:12], "validation": rows[12:16], "test": [{**row, "trusted": 1} for row in rows[16:]]}
    (tmp_path / "data.json").write_text(json.dumps(lists))
    with pytest.raises(DataError, match="trusted images only in the part training.*found a trusted image in test"):
        open_data(tmp_path / "data.json")


@pytest.fixture
def folders(tmp_path: Path, write_image: Write) -> tuple[Path, Path]:
    """A data set of class folders, and trusted images of the same classes."""
    for index in range(12):
        for label, name in enumerate("ab"):
            write_image(tmp_path / "data" / name / f"{index}.png", (index, label, 9))
            if index < 2:
                write_image(tmp_path / "sure" / name / f"{index}.png", (index, label, 99))
    return tmp_path / "data", tmp_path / "sure"


@pytest.mark.parametrize("check", [True, False])
def test_a_folder_of_trusted_images_is_read_as_a_part_is(folders: tuple[Path, Path], check: bool) -> None:
    data = open_data(folders[0], trusted_dir=folders[1], check=check)
    assert [item["label"] for item in data.trusted] == [0, 0, 1, 1]
    assert all(Path(item["image"]).is_relative_to(folders[1]) for item in data.trusted)
    assert open_data(folders[0]).training == data.training


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("kind", ["missing", "empty", "class missing", "class empty", "other class", "the same folder"])
def test_a_folder_that_cannot_be_trusted_is_an_error(
    folders: tuple[Path, Path], kind: str, check: bool, write_image: Write
) -> None:
    data, sure = folders
    if kind == "missing":
        sure = sure / "nowhere"
    elif kind == "the same folder":
        sure = data
    elif kind == "other class":
        write_image(sure / "c" / "0.png")
    else:
        for path in [*sure.rglob("*.png")] if kind == "empty" else [*(sure / "b").glob("*")]:
            path.unlink()
        if kind != "class empty":
            (sure / "b").rmdir()
    with pytest.raises(DataError, match=r"sure|trusted"):
        open_data(data, trusted_dir=sure, check=check)


@pytest.mark.parametrize("written", ["yes", "Yes", " TRUE ", "1", 1, True, "1.0"])
def test_ways_to_say_yes(written: Any) -> None:
    assert is_trusted(written, "training", Path("t.csv"), 2, stop)


@pytest.mark.parametrize("written", ["no", "False", "0", 0, False, "", None, "0.0"])
def test_ways_to_say_no(written: Any) -> None:
    assert not is_trusted(written, "test", Path("t.csv"), 2, stop)


@pytest.mark.parametrize("written", ["maybe", "2", 0.5, "y/n", [True]])
def test_anything_else_is_a_fault_of_its_row(written: Any) -> None:
    found: list[Fault] = []
    assert not is_trusted(written, "training", Path("t.csv"), 7, found.append)
    assert found[0].row == 7 and repr(written) in found[0].found
