# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_gmcl.data.faults import KINDS, Fault, stop
from monai_gmcl.data.opening import open_data
from monai_gmcl.data.part_lists import part_name
from monai_gmcl.data.parts import list_parts
from monai_gmcl.exceptions import DataError


@pytest.fixture
def datalist(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., Path]:
    """A JSON datalist with so many images in each of its lists."""

    def write(**counts: int) -> Path:
        content = {
            name: [
                {"image": write_image(tmp_path / name / f"{index}.png").as_posix(), "label": "ab"[index % 2]}
                for index in range(count)
            ]
            for name, count in counts.items()
        }
        (tmp_path / "list.json").write_text(json.dumps(content))
        return tmp_path / "list.json"

    return write


def test_folders_with_parts_have_three_and_others_one(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for part in ("train", "val", "test"):
        write_image(tmp_path / part / "cat" / "a.png")
    parts, names = list_parts(tmp_path)
    assert {part: [Path(item["image"]).parts[-3] for item in items] for part, items in parts.items()} == {
        "training": ["train"],
        "validation": ["val"],
        "test": ["test"],
    }
    assert names == ["cat"]
    assert list(list_parts(tmp_path / "train")[0]) == ["training"]


@pytest.mark.parametrize("test", ["test", "testing"])
def test_a_datalist_with_all_three_lists_is_opened_as_it_stands(datalist: Callable[..., Path], test: str) -> None:
    data = open_data(datalist(training=6, validation=4, **{test: 2}))
    assert [len(part) for part in (data.training, data.validation, data.test)] == [6, 4, 2]
    assert {Path(item["image"]).parent.name for item in data.test} == {test}


def test_labels_of_all_lists_follow_the_training_lists_classes(datalist: Callable[..., Path]) -> None:
    path = datalist(training=4, validation=2)
    assert [item["label"] for item in list_parts(path)[0]["validation"]] == [0, 1]
    assert [item["label"] for item in list_parts(path, class_names=["b", "a"])[0]["validation"]] == [1, 0]


def test_by_default_an_error_stops_and_a_warning_does_not(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    write_image(tmp_path / "cat" / "a.png")
    write_image(tmp_path / "lost.png")
    assert len(list_parts(tmp_path)[0]["training"]) == 1
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="at least one image in the class folder in '.*dog', found none"):
        list_parts(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_has_a_remedy_and_stops_or_does_not(kind: str) -> None:
    fault = Fault(kind, "a.png", "this", "that", row=3)
    assert len(fault.remedy) > 10
    if fault.is_error:
        with pytest.raises(DataError, match=r"^Expected this in row 3 of 'a.png', found that\.$"):
            stop(fault)
    else:
        stop(fault)


def _faults(path: Path, group_column: str | None = None) -> tuple[dict[str, int], list[tuple[str, str]]]:
    faults: list[Fault] = []
    parts, _ = list_parts(path, group_column, None, faults.append)
    return {part: len(items) for part, items in parts.items()}, [(fault.kind, fault.found) for fault in faults]


@pytest.mark.parametrize(
    ("lists", "kind", "found"),
    [
        ({"training": 4, "test": 2, "testing": 2}, "table", "test, testing"),
        ({"training": 4, "train": 2}, "table", "training, train"),
        ({"training": 4, "extra": 2}, "unread_list", "2 images in 'extra'"),
        ({"training": 4, "validation_2": 2}, "unread_list", "2 images in 'validation_2'"),
        ({"validation": 4}, "table", "validation"),
    ],
)
def test_a_list_that_is_not_read_is_named(
    datalist: Callable[..., Path], lists: dict[str, int], kind: str, found: str
) -> None:
    assert (kind, found) in _faults(datalist(**lists))[1]


def test_folds_are_not_read_and_that_is_told(datalist: Callable[..., Path], tmp_path: Path) -> None:
    path = datalist(training=4)
    rows = json.loads(path.read_text())["training"]
    path.write_text(json.dumps({"training": [{**row, "fold": i % 2} for i, row in enumerate(rows)]}))
    assert _faults(path)[1] == [("unread_column", "the key 'fold' in 'training'")]
    (tmp_path / "t.csv").write_text("image,label,fold\n" + "".join(f"{r['image']},{r['label']},0\n" for r in rows))
    assert _faults(tmp_path / "t.csv")[1] == [("unread_column", "'0'")]


@pytest.mark.parametrize("column", ["split", "Set", "partition"])
def test_a_table_has_its_parts_in_a_column(datalist: Callable[..., Path], tmp_path: Path, column: str) -> None:
    rows = json.loads(datalist(training=9).read_text())["training"]
    parts = ["train"] * 4 + ["Val"] * 3 + ["testing"] * 2
    lines = [f"{row['image']},{row['label']},{part}" for row, part in zip(rows, parts, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([f"image,label,{column}", *lines]))
    assert _faults(tmp_path / "t.csv") == ({"training": 4, "validation": 3, "test": 2}, [])
    (tmp_path / "t.csv").write_text("\n".join([f"image,label,{column}", *lines[4:]]))
    assert _faults(tmp_path / "t.csv")[1] == [("table", "validation, test")]


def test_the_patients_key_of_a_list_is_what_the_user_names(datalist: Callable[..., Path]) -> None:
    path = datalist(training=6)
    rows = json.loads(path.read_text())["training"]
    path.write_text(json.dumps({"training": [{**row, "patient": i // 2} for i, row in enumerate(rows)]}))
    groups = [item["group"] for item in list_parts(path, "patient")[0]["training"]]
    assert groups == ["0", "0", "1", "1", "2", "2"]
    path.write_text(json.dumps({"training": rows}))
    assert _faults(path, "patient")[1] == [("group", "none")] * 6


def test_a_patients_column_of_a_folder_is_refused(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    write_image(tmp_path / "cat" / "a.png")
    with pytest.raises(DataError, match="a table with the column 'patient' in .*, found a folder"):
        list_parts(tmp_path, "patient")


def test_folders_beside_parts_and_parts_without_classes_are_told_of(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    for place in ("train/cat", "test", "masks/cat"):
        write_image(tmp_path / place / "a.png")
    parts, faults = _faults(tmp_path)
    assert parts == {"training": 1}
    assert faults == [("stray", "another folder"), ("stray", "images outside of class folders")]


def test_a_class_may_be_called_train(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for name in ("train", "bus"):
        write_image(tmp_path / name / "a.png")
    assert list_parts(tmp_path)[1] == ["bus", "train"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("train", "training"), ("Training", "training"), ("TRAIN", "training"), ("train_set", "training")),
        *(("val", "validation"), ("Valid", "validation"), ("validation", "validation"), ("Dev", "validation")),
        *(("test", "test"), ("Testing", "test"), ("test-images", "test"), (" Test set ", "test")),
        *(("trained", None), ("fold_0", None), ("", None), ("set", None), ("numTraining", None), ("masks", None)),
    ],
)
def test_parts_have_usual_names_in_small_or_capital_letters(name: str, part: str | None) -> None:
    assert part_name(name) == part
