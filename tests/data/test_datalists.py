# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_gmcl.data.datalists import read_csv_datalist, read_json_datalist
from monai_gmcl.exceptions import DataError


@pytest.fixture
def table(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[[str], Path]:
    """A CSV file of the given text beside the images ``images/a.png``, ``b.png``, ``c.png``."""
    for name in "abc":
        write_image(tmp_path / "images" / f"{name}.png")

    def write(text: str) -> Path:
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def datalist(table: Callable[[str], Path], tmp_path: Path) -> Callable[[object], Path]:
    """A JSON file of the given content beside the same images."""

    def write(content: object) -> Path:
        path = tmp_path / "list.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def test_named_labels_of_a_table_become_sorted_class_indices(table: Callable[[str], Path], tmp_path: Path) -> None:
    items, names = read_csv_datalist(table("image,label\nimages/a.png,tumor\nimages/b.png,normal\n"))
    assert names == ["normal", "tumor"]
    assert items == [
        {"image": str(tmp_path / "images/a.png"), "label": 1},
        {"image": str(tmp_path / "images/b.png"), "label": 0},
    ]


def test_an_absolute_path_and_a_byte_order_mark_are_fine(table: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "images" / "a.png"
    items, _ = read_csv_datalist(table(f"\ufeffimage,label\n{path},x\n"))
    assert items[0]["image"] == str(path)


def test_numbers_sort_as_numbers_and_given_names_set_the_order(table: Callable[[str], Path]) -> None:
    path = table("image,label\nimages/a.png,10\nimages/b.png,9\n")
    assert read_csv_datalist(path)[1] == ["9", "10"]
    items, names = read_csv_datalist(path, class_names=["10", "9"])
    assert (names, [item["label"] for item in items]) == (["10", "9"], [0, 1])


def test_columns_may_have_other_names_and_a_group_is_kept(table: Callable[[str], Path]) -> None:
    path = table("file,grade,patient\nimages/a.png,0,p1\nimages/b.png,1,p2\n")
    items, _ = read_csv_datalist(path, "file", "grade", "patient")
    assert [(item["label"], item["group"]) for item in items] == [(0, "p1"), (1, "p2")]


def test_several_label_columns_make_a_multi_label_task(table: Callable[[str], Path]) -> None:
    path = table("image,edema,mass\nimages/a.png,0,1\nimages/b.png,1,1\n")
    items, names = read_csv_datalist(path, label_column=["edema", "mass"])
    assert names == ["edema", "mass"]
    assert [item["label"] for item in items] == [[0.0, 1.0], [1.0, 1.0]]


def test_a_label_that_is_neither_0_nor_1_or_no_known_class_is_refused(table: Callable[[str], Path]) -> None:
    path = table("image,label\nimages/a.png,1\nimages/b.png,2\n")
    with pytest.raises(DataError, match=r"0 or 1 in row 3 of .*list.csv', found \['2'\]"):
        read_csv_datalist(path, label_column=["label"])
    with pytest.raises(DataError, match="classes 0, 1 in row 3 of .*list.csv', found '2'"):
        read_csv_datalist(path, class_names=["0", "1"])


def test_a_section_of_a_json_datalist_is_read(datalist: Callable[[object], Path], tmp_path: Path) -> None:
    content = {
        "training": [{"image": "images/a.png", "label": 3, "group": 7}, {"image": "images/b.png", "label": 1}],
        "validation": [{"image": "images/c.png", "label": [0, 1]}],
    }
    items, names = read_json_datalist(datalist(content))
    assert names == ["1", "3"]
    assert items == [
        {"image": str(tmp_path / "images/a.png"), "label": 1, "group": "7"},
        {"image": str(tmp_path / "images/b.png"), "label": 0},
    ]
    items, names = read_json_datalist(datalist(content), "validation")
    assert (items[0]["label"], names) == ([0.0, 1.0], ["0", "1"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"training": [{"image": "images/a.png", "label": [0, 1]}, {"image": "images/b.png", "label": 1}]},
            "2 labels of 0 or 1, .* in row 2 of .*list.json', found '1'",
        ),
        (
            {"training": [{"image": "images/a.png", "label": 1}, {"image": "images/b.png", "label": [0, 1]}]},
            "one class, .* in row 2 of .*list.json', found .0.0, 1.0.",
        ),
    ],
)
def test_an_error_in_a_json_datalist_names_the_file_and_the_entry(
    datalist: Callable[[object], Path], content: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_json_datalist(datalist(content))


@pytest.mark.parametrize("written", [" images/a.png", "images/a.png ", "images\\a.png", " images\\a.png "])
def test_a_path_may_have_blanks_and_either_systems_separators(
    table: Callable[[str], Path], tmp_path: Path, written: str
) -> None:
    items, _ = read_csv_datalist(table(f"image;label\n{written};x\n"))
    assert Path(items[0]["image"]) == tmp_path / "images" / "a.png"


@pytest.mark.parametrize(
    ("written", "hint"),
    [("images/a", "there is a file 'images/a.png'"), ("images\\b", "there is a file 'images/b.png'"), ("images/x", "")],
)
def test_a_missing_file_says_what_is_near(table: Callable[[str], Path], written: str, hint: str) -> None:
    with pytest.raises(DataError, match=f"an image file in row 2 of .*, found no file .*{hint}"):
        read_csv_datalist(table(f"image,label\n{written},x\n"))


def test_a_mask_is_no_class(table: Callable[[str], Path]) -> None:
    with pytest.raises(DataError, match="open_segmentation_data.*found the file 'masks/a.nii.gz'"):
        read_csv_datalist(table("image,label\nimages/a.png,masks/a.nii.gz\n"))


def test_true_and_false_are_classes(datalist: Callable[[object], Path]) -> None:
    rows = [{"image": f"images/{name}.png", "label": name == "b"} for name in "abc"]
    items, names = read_json_datalist(datalist({"training": rows}))
    assert (names, [item["label"] for item in items]) == (["False", "True"], [0, 1, 0])


def test_a_list_with_one_image_is_that_image_and_with_two_an_error(datalist: Callable[[object], Path]) -> None:
    assert len(read_json_datalist(datalist({"training": [{"image": ["images/a.png"], "label": 1}]}))[0]) == 1
    with pytest.raises(DataError, match="one image, or a NIfTI file for each channel in row 1 of"):
        read_json_datalist(datalist({"training": [{"image": ["images/a.png", "images/b.png"], "label": 1}]}))


def test_the_column_group_is_read_as_the_key_group_is(table: Callable[[str], Path]) -> None:
    items, _ = read_csv_datalist(table("image,label,Group\nimages/a.png,x,7.0\nimages/b.png,x,7\n"))
    assert [item["group"] for item in items] == ["7", "7"]
