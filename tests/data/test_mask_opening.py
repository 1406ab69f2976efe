# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data import make_mask_phantom, open_data, open_segmentation_data
from monai_gmcl.exceptions import ConfigurationError, DataError


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Twenty images of ten patients with masks; every fifth image alone has the class 2."""
    draw = np.random.default_rng(0)
    for index in range(20):
        mask = np.zeros((12, 12), dtype=np.uint8)
        mask[:6] = 1
        mask[0] = 2 if index % 5 == 0 else 1
        for kind, values in (("images", draw.integers(0, 255, (12, 12), dtype=np.uint8)), ("labels", mask)):
            place = tmp_path / "set" / kind / f"p{index // 2}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(place / f"{index}.png")
    return tmp_path / "set"


def test_the_phantom_has_its_parts(tmp_path: Path) -> None:
    data = open_segmentation_data(phantom_dir=tmp_path / "phantom")
    assert [len(part) for part in (data.training, data.validation, data.test)] == [12, 8, 20]
    assert (data.class_names, data.mask_values) == (["background", "nucleus"], [0, 1])
    assert (data.spatial_dims, data.channels) == (2, 3)


def test_a_split_keeps_patients_together_and_shares_classes_out(shades: Path) -> None:
    data = open_segmentation_data(shades)
    parts = [data.training, data.validation, data.test]
    counts = [len(part) for part in parts]
    assert counts[0] >= 10 and min(counts) >= 4 and sum(counts) == 20
    groups = [{item["group"] for item in part} for part in parts]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 10
    assert data.class_names == ["background", "1", "2"]
    rare = [sum(int(Path(item["label"]).stem) % 5 == 0 for item in part) for part in parts]
    assert rare[0] >= 1 and sum(rare) == 4
    assert all(Path(item["image"]).name == Path(item["label"]).name for part in parts for item in part)
    assert open_segmentation_data(shades) == data and open_segmentation_data(shades, seed=1) != data
    assert open_segmentation_data(shades, check=False) == data


def test_names_and_numbers_of_classes_can_be_given(shades: Path) -> None:
    data = open_segmentation_data(shades, class_names=["out", "wall", "core"], mask_values=[0, 2, 1])
    assert data.class_names == ["out", "wall", "core"] and data.mask_values == [0, 2, 1]
    with pytest.raises(ConfigurationError, match="a name for each of the values"):
        open_segmentation_data(shades, class_names=["out", "wall"], mask_values=[0, 1, 2])


@pytest.mark.parametrize("white", [np.uint8(255), np.uint16(65535)])
def test_black_and_white_masks_are_two_classes(tmp_path: Path, white: np.integer[Any]) -> None:
    folder = make_mask_phantom(tmp_path / "phantom", {"train": 6}, size=32)
    for path in folder.glob("*/labels/*"):
        Image.fromarray(np.asarray(Image.open(path)) * white).save(path)
    assert open_segmentation_data(folder).mask_values == [0, int(white)]


def test_errors_stop_and_warnings_are_logged(shades: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(np.zeros((12, 12), dtype=np.uint8)).save(shades / "labels" / "p1" / "2.png")
    with caplog.at_level(logging.WARNING):
        open_segmentation_data(shades)
    assert "2.png" in caplog.text and "background" in caplog.text
    (shades / "labels" / "p1" / "2.png").unlink()
    with pytest.raises(DataError, match=r"Expected a mask in '.*2.png', found no file named '2'"):
        open_segmentation_data(shades)


def test_an_image_that_is_taken_for_a_mask_is_an_error_unless_so_many_classes_are_named(shades: Path) -> None:
    many = np.arange(144, dtype=np.uint8).reshape(12, 12)
    for path in (shades / "labels").rglob("*.png"):
        Image.fromarray(many).save(path)
    with pytest.raises(DataError, match="Expected at most 64 values.*found 144 values"):
        open_segmentation_data(shades)
    assert open_segmentation_data(shades, mask_values=list(range(144))).num_classes == 144


def test_classification_does_not_take_masks_for_classes(shades: Path) -> None:
    with pytest.raises(DataError, match="gmcl_segmentation"):
        open_data(shades)


def test_trusted_images_come_into_no_other_part_and_have_each_class(tmp_path: Path) -> None:
    folder, sure = (
        make_mask_phantom(tmp_path / str(seed), {"train": 3, "valid": 2, "test": 2}, 16, seed) for seed in (0, 1)
    )
    data = open_segmentation_data(folder, trusted_dir=sure / "train")
    assert len(data.trusted) == 3 and all(str(sure) in item["image"] for item in data.trusted)
    assert not any(str(sure) in item["image"] for item in (*data.training, *data.validation, *data.test))
    with pytest.raises(DataError, match="trusted images and of labels in .*nowhere', found no folder"):
        open_segmentation_data(folder, trusted_dir=tmp_path / "nowhere")
    for path in (sure / "train" / "labels").iterdir():
        Image.new("L", (16, 16)).save(path)
    with pytest.raises(DataError, match="images of 'nucleus' in trusted"):
        open_segmentation_data(folder, trusted_dir=sure / "train")
