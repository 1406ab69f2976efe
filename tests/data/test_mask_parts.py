# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.mask_parts import has_masks, list_mask_parts

Write = Callable[..., Path]
RAISED = pytest.mark.parametrize


@pytest.fixture
def put(tmp_path: Path, write_image: Write) -> Callable[..., Path]:
    """Write small grey images by their paths in the data set, and return its folder."""

    def put(*names: str) -> Path:
        for name in names:
            write_image(tmp_path / "set" / name, 1)
        return tmp_path / "set"

    return put


def pairs(source: Path) -> dict[str, list[tuple[str, str]]]:
    """Paths of images and masks below the data set's folder, by part."""
    folder = source if source.is_dir() else source.parent
    parts, _ = list_mask_parts(source)
    return {
        part: [tuple(Path(item[key]).relative_to(folder).as_posix() for key in ("image", "label")) for item in items]  # type: ignore[misc]
        for part, items in parts.items()
    }


@RAISED(
    ("files", "expected"),
    [
        (["images/a.png", "labels/a.png"], {"training": [("images/a.png", "labels/a.png")]}),
        (["Images/a.tif", "Masks/a_mask.png"], {"training": [("Images/a.tif", "Masks/a_mask.png")]}),
        (["img/a.jpg", "masks/a-seg.png"], {"training": [("img/a.jpg", "masks/a-seg.png")]}),
        (
            ["imagesTr/c_0000.png", "labelsTr/c.png", "imagesTs/d_0000.png", "labelsTs/d.png"],
            {
                "training": [("imagesTr/c_0000.png", "labelsTr/c.png")],
                "test": [("imagesTs/d_0000.png", "labelsTs/d.png")],
            },
        ),
        (
            ["train/images/a.png", "train/labels/a.png", "val/images/b.png", "val/labels/b.png"],
            {
                "training": [("train/images/a.png", "train/labels/a.png")],
                "validation": [("val/images/b.png", "val/labels/b.png")],
            },
        ),
        (
            ["images/train/a.png", "masks/train/a.png", "images/test/b.png", "masks/test/b.png"],
            {
                "training": [("images/train/a.png", "masks/train/a.png")],
                "test": [("images/test/b.png", "masks/test/b.png")],
            },
        ),
        (
            ["images/a.png", "masks/a.png", "val/images/b.png", "val/masks/b.png"],
            {"training": [("images/a.png", "masks/a.png")], "validation": [("val/images/b.png", "val/masks/b.png")]},
        ),
        (
            ["train_images/a.png", "train_masks/a.png", "test_images/b.png", "test_masks/b.png"],
            {
                "training": [("train_images/a.png", "train_masks/a.png")],
                "test": [("test_images/b.png", "test_masks/b.png")],
            },
        ),
        (
            ["images/frame_0001.png", "labels/frame_0001.png"],
            {"training": [("images/frame_0001.png", "labels/frame_0001.png")]},
        ),
    ],
)
def test_masks_are_found_beside_their_images(
    put: Callable[..., Path], files: list[str], expected: dict[str, list[tuple[str, str]]]
) -> None:
    folder = put(*files)
    assert has_masks(folder)
    assert pairs(folder) == expected


def test_an_empty_part_is_not_told_of(put: Callable[..., Path]) -> None:
    folder = put("train/images/a.png", "train/masks/a.png")
    (folder / "test").mkdir()
    assert list(pairs(folder)) == ["training"]


def test_folders_among_the_images_are_patients(put: Callable[..., Path]) -> None:
    folder = put(*(f"{kind}/{name}.png" for kind in ("images", "labels") for name in ("p1/a", "p1/b", "p2/a")))
    assert [item["group"] for item in list_mask_parts(folder)[0]["training"]] == ["p1", "p1", "p2"]


@RAISED(
    ("files", "kind", "file"),
    [
        (["images/a.png", "images/b.png", "labels/a.png"], "no_mask", "images/b.png"),
        (["images/a.png", "labels/a.png", "labels/b.png"], "no_image", "labels/b.png"),
        (["imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png"], "several_channels", "imagesTr/a_0001.png"),
        (["images/a.png", "labels/a.png", "labels/a_mask.png"], "layout_of_masks", "labels/a_mask.png"),
        (["imagesTr/a.png", "labelsTr/a.png", "imagesTs/b.png"], "unread_list", "imagesTs"),
        (["imagesTr/a.png", "labelsTr/a.png", "labelsTs/b.png"], "unread_list", "labelsTs"),
        (["images/train/a.png", "masks/train/a.png", "images/val/b.png"], "unread_list", "images/val"),
        (["images/train/a.png", "masks/train/a.png", "masks/val/b.png"], "unread_list", "masks/val"),
        (["train/images/a.png", "train/masks/a.png", "test/images/b.png"], "unread_list", "test"),
        (["images/a.png", "masks/a.png", "train/images/b.png", "train/masks/b.png"], "layout_of_masks", "train"),
        (["train/images/a.png", "train/masks/a.png", "sure/images/b.png", "sure/masks/b.png"], "unread_list", "sure"),
        (["images/a.png", "masks/a.png", "annotations/a.png"], "layout_of_masks", ""),
        (["images/a.png", "imgs/a.png", "masks/a.png"], "layout_of_masks", ""),
        (["imagesTs/a.png", "labelsTs/a.png"], "layout_of_masks", ""),
    ],
)
def test_what_does_not_pair_is_told_of_once(put: Callable[..., Path], files: list[str], kind: str, file: str) -> None:
    folder, faults = put(*files), list[Fault]()
    list_mask_parts(folder, on_fault=faults.append)
    assert [(fault.kind, fault.file) for fault in faults] == [(kind, str(folder / file))]


def test_a_table_has_masks_as_labels_and_may_have_parts_and_patients(put: Callable[..., Path]) -> None:
    table = put("a.png", "b.png", "m/a.png", "m/b.png") / "list.csv"
    table.write_text("image,label,split,group\na.png,m/a.png,train,7\nb.png,m/b.png,test,07.0\n")
    assert has_masks(table)
    assert pairs(table) == {"training": [("a.png", "m/a.png")], "test": [("b.png", "m/b.png")]}
    faults: list[Fault] = []
    parts, _ = list_mask_parts(table, on_fault=faults.append)
    assert [items[0]["group"] for items in parts.values()] == ["7", "7"] and [f.kind for f in faults] == ["joined"]
    table.write_text("image,label\na.png,m/a.png\nb.png,\nb.png,m/c.png\n")
    faults.clear()
    list_mask_parts(table, on_fault=faults.append)
    assert [(fault.kind, fault.row) for fault in faults] == [("row", 3), ("missing", 4)]


@RAISED(
    ("label", "kind"),
    [(["m/a.png"], None), (["m/a.png", "m/b.png"], "mask_channels"), ("a.png", "row"), ([], "row")],
)
def test_a_list_names_one_mask_that_is_not_the_image(put: Callable[..., Path], label: object, kind: str | None) -> None:
    record, faults = put("a.png", "m/a.png", "m/b.png") / "list.json", list[Fault]()
    record.write_text(json.dumps({"training": [{"image": "a.png", "label": label}]}))
    assert has_masks(record) == bool(label)
    list_mask_parts(record, on_fault=faults.append)
    assert [fault.kind for fault in faults] == ([kind] if kind else [])


DECATHLON = {"training": [{"image": "./imagesTr/a.png", "label": "./labelsTr/a.png"}], "test": ["./imagesTs/b.png"]}


@RAISED("labels", [{"0": "background", "1": "spleen"}, {"background": 0, "spleen": 1}])
def test_dataset_json_names_the_classes(put: Callable[..., Path], labels: dict[str, Any]) -> None:
    folder = put("imagesTr/a.png", "labelsTr/a.png")
    record = folder / "dataset.json"
    record.write_text(json.dumps({**DECATHLON, "labels": labels}))
    assert has_masks(record)
    for source in (record, folder):
        assert pairs(source) == {"training": [("imagesTr/a.png", "labelsTr/a.png")]}
        assert list_mask_parts(source)[1] == ["background", "spleen"]


@RAISED(
    ("labels", "kind"),
    [
        ({"background": 0, "whole": [1, 2]}, "table"),
        ({"0": "background", "2": "spleen"}, "table"),
        ({"background": 0, "spleen": 1, "ignore": 2}, "ignored_class"),
    ],
)
def test_classes_that_are_not_numbered_or_not_predicted_are_told_of(
    put: Callable[..., Path], labels: dict[str, Any], kind: str
) -> None:
    folder, faults = put("imagesTr/a.png", "labelsTr/a.png"), list[Fault]()
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    list_mask_parts(folder, on_fault=faults.append)
    assert [fault.kind for fault in faults] == [kind]


def test_class_folders_and_tables_of_classes_have_no_masks(put: Callable[..., Path], tmp_path: Path) -> None:
    folder = put("train/cat/a.png", "train/dog/a.png")
    (folder / "list.csv").write_text("image,label\ntrain/cat/a.png,cat\n")
    assert not any(map(has_masks, (folder, folder / "list.csv", tmp_path / "nothing")))
