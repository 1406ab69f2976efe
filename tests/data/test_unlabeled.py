# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from monai_gmcl.data import open_data, prediction_datalist, unlabeled_datalist
from monai_gmcl.exceptions import DataError


def test_images_are_found_in_all_folders_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a/.hidden.png", ".trash/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    assert unlabeled_datalist(tmp_path) == [{"image": str(tmp_path / name)} for name in ("a/z.png", "b.png")]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no folder"):
        unlabeled_datalist(tmp_path / "nowhere")
    with pytest.raises(DataError, match="at least one unlabeled image"):
        unlabeled_datalist(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="Expected only images .* found .*notes.txt"):
        unlabeled_datalist(tmp_path)


@pytest.fixture
def images(tmp_path: Path, write_image: Callable[..., Path]) -> list[str]:
    return [str(write_image(tmp_path / "im" / name)) for name in ("a.png", "b.jpg", "c.tif")]


def test_every_source_that_training_takes_can_be_predicted(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    files = [
        write_image(tmp_path / "set" / part / name / f"{i}.png", 3 * i)
        for part in ("Train", "Test")
        for name in "ab"
        for i in range(4)
    ]
    rows = [{"image": str(path.relative_to(tmp_path)), "label": path.parent.name} for path in files]
    (tmp_path / "t.csv").write_text("image;label\n" + "".join(f"{row['image']};{row['label']}\n" for row in rows))
    (tmp_path / "t.json").write_text(json.dumps({"training": rows[:8], "testing": rows[8:]}))
    for source in (tmp_path / "set", tmp_path / "t.csv", tmp_path / "t.json", tmp_path / "set" / "Train"):
        data = open_data(source)
        taken = {item["image"] for part in (data.training, data.validation, data.test) for item in part}
        assert {item["image"] for item in prediction_datalist(source)} == taken


def test_masks_beside_images_are_not_predicted(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for name in ("test/images/a.png", "test/labels/a.png"):
        write_image(tmp_path / name)
    for folder in (tmp_path, tmp_path / "test"):
        assert prediction_datalist(folder) == [{"image": str(tmp_path / "test" / "images" / "a.png")}]


def test_labels_are_not_needed(tmp_path: Path, images: list[str]) -> None:
    (tmp_path / "t.csv").write_text("Image\n" + "".join(f" im\\{Path(path).name}\n" for path in images))
    (tmp_path / "t.json").write_text(json.dumps({"test": images[:2], "other": [{"image": images[2]}], "name": "x"}))
    wanted = [{"image": path} for path in images]
    assert prediction_datalist(tmp_path / "t.csv") == wanted
    assert prediction_datalist(tmp_path / "t.json") == wanted
    assert prediction_datalist(tmp_path / "im") == wanted
    assert prediction_datalist(images[1]) == wanted[1:2]


def test_each_file_comes_once(tmp_path: Path, images: list[str]) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"training": images, "validation": images[:1]}))
    assert [item["image"] for item in prediction_datalist(tmp_path / "t.json")] == images


def test_what_is_left_out_of_a_folder_is_told(
    tmp_path: Path, images: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "im" / "notes.txt").write_text("x")
    (tmp_path / "im" / "z.bmp").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert len(prediction_datalist(tmp_path / "im")) == 3
    assert "notes.txt' and 1 more" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty", None, "images to predict in .*empty'.*, found none"),
        ("t.csv", "image\n", "images to predict in .*t.csv'.*, found none"),
        ("t.csv", "file\nim/a.png\n", "a column 'image' in .*t.csv', found file"),
        ("t.csv", "image\nim/a.png\nim/x.png\nim/y.png\n", "row 3 of .*found no file .*x.png.* 1 more with"),
        ("t.json", "{}", "images to predict in .*t.json'.*, found none"),
        ("t.json", "[]", "a list 'training' in .*t.json', found list"),
        ("t.json", '{"test": [{"label": 1}]}', "the path of one image in row 1 of .*found None"),
        ("t.xlsx", "x", "an image to predict, found another file at .*t.xlsx"),
        ("gone", False, "an image to predict, found no file at .*gone"),
    ],
)
def test_where_there_is_nothing_to_predict_that_is_an_error(
    tmp_path: Path, images: list[str], name: str, content: str | bool | None, message: str
) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    elif isinstance(content, str):
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        prediction_datalist(tmp_path / name)
