# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from monai_gmcl.data.class_folders import class_folder_datalist
from monai_gmcl.exceptions import DataError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_classes_and_files_come_sorted_with_labels_in_the_order_of_the_names(tmp_path: Path) -> None:
    _touch(tmp_path, "tumor/b.png", "tumor/a.png", "normal/z.png")
    items, names = class_folder_datalist(tmp_path)
    assert names == ["normal", "tumor"]
    assert items == [
        {"image": str(tmp_path / "normal" / "z.png"), "label": 0},
        {"image": str(tmp_path / "tumor" / "a.png"), "label": 1},
        {"image": str(tmp_path / "tumor" / "b.png"), "label": 1},
    ]


def test_given_class_names_set_the_labels(tmp_path: Path) -> None:
    _touch(tmp_path, "benign/a.png", "cancer/a.png")
    items, names = class_folder_datalist(tmp_path, ["cancer", "benign"])
    assert names == ["cancer", "benign"]
    assert [(Path(item["image"]).parent.name, item["label"]) for item in items] == [("cancer", 0), ("benign", 1)]


def test_every_supported_format_is_listed_in_either_case_and_hidden_files_are_not(tmp_path: Path) -> None:
    wanted = ["a.png", "b.JPG", "c.jpeg", "d.tif", "e.TIFF", "f.nii", "g.nii.gz"]
    _touch(tmp_path, *(f"one/{name}" for name in wanted), "one/.DS_Store", ".cache/x")
    items, names = class_folder_datalist(tmp_path)
    assert names == ["one"]
    assert [Path(item["image"]).name for item in items] == wanted


@pytest.mark.parametrize(
    ("files", "names", "message"),
    [
        ([], None, r"at least one class folder in .*data', found none"),
        (["a.png"], None, r"at least one class folder in .*data', found none"),
        (["cat/a.png", "dog/a.png"], ["cat", "cow"], r"the class folders cat, cow in .*data', found cat, dog"),
        (["cat/a.png"], ["cat", "cow"], r"the class folders cat, cow in .*data', found cat\."),
        (["cat/notes.txt"], None, r"only images \(\.png, .*\.nii\.gz\).*found .*notes\.txt"),
    ],
)
def test_what_is_no_class_folder_data_set_is_refused(
    tmp_path: Path, files: list[str], names: list[str] | None, message: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    _touch(folder, *files)
    with pytest.raises(DataError, match=message):
        class_folder_datalist(folder, names)


@pytest.mark.parametrize(
    ("places", "groups"),
    [
        (["p1/a.png", "p1/b.png", "p2/a.png"], ["p1", "p1", "p2"]),
        (["p1/40X/a.png", "p1/100X/b.png", "p2/40X/a.png"], ["p1", "p1", "p2"]),
        (["SOB/p1/a.png", "SOB/p1/b.png", "SOB/p2/a.png"], ["p1", "p1", "p2"]),
        (["7/a.png", "7.0/a.png", "08/a.png"], ["7", "7", "08"]),
        (["images/a.png", "images/b.png", "images/c.png"], [None, None, None]),
    ],
    ids=["patients", "magnifications below", "one folder above", "two ways to write one", "one folder for all"],
)
def test_folders_between_class_and_image_are_patients(tmp_path: Path, places: list[str], groups: list[object]) -> None:
    _touch(tmp_path, *(f"{name}/{place}" for name in ("cat", "dog") for place in places))
    items, names = class_folder_datalist(tmp_path)
    assert names == ["cat", "dog"]
    assert {
        (Path(item["image"]).relative_to(tmp_path / "cat").as_posix(), item.get("group")) for item in items[:3]
    } == {*zip(places, groups, strict=True)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["cat/p1/a.png", "cat/b.png", "dog/p2/a.png"],
            "all images in folders of patients or slides in .*outside of them",
        ),
        (
            ["cat/a.png", "dog/p1/a.png", "dog/p2/a.png"],
            "all images in folders of patients or slides in .*outside of them",
        ),
        (
            ["set/train/cat/a.png", "set/test/cat/a.png"],
            r"the folders of parts in .*, found the parts test, train inside",
        ),
        (["cat/train/a.png", "cat/Val/a.png", "dog/train/a.png"], r"found the parts Val, train inside"),
        (["cat/1.dcm", "dog/a.png"], "in class folders in .*1.dcm', found DICOM"),
        (["cat/p1/notes.txt", "cat/p1/a.png"], "only images .*notes.txt"),
    ],
)
def test_folders_that_leave_a_doubt_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    _touch(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        class_folder_datalist(tmp_path)
