# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from monai_gmcl.data import ReadMaskd, image_transforms, make_volume_mask_phantom
from monai_gmcl.data.mask_files import number_classes
from monai_gmcl.exceptions import ConfigurationError, DataError

CLASSES = np.random.default_rng(0).integers(0, 3, (6, 9))


@pytest.mark.parametrize(
    ("dtype", "numbers", "suffix"),
    [
        (np.uint8, [0, 1, 2], "png"),
        (np.uint8, [0, 127, 255], "tif"),
        (np.uint8, [255, 0, 7], "png"),
        (np.uint16, [0, 300, 65535], "png"),
    ],
)
def test_numbers_become_classes_in_their_order(tmp_path: Path, dtype: Any, numbers: list[int], suffix: str) -> None:
    Image.fromarray(np.array(numbers)[CLASSES].astype(dtype)).save(tmp_path / f"mask.{suffix}")
    mask = ReadMaskd("label", numbers)({"label": tmp_path / f"mask.{suffix}"})["label"]
    assert mask.dtype == torch.uint8 and mask.shape == (1, 6, 9)
    assert (mask[0].numpy() == CLASSES).all()


def test_one_bit_and_a_palette_are_read_as_their_numbers(tmp_path: Path) -> None:
    Image.fromarray(CLASSES == 1).save(tmp_path / "bit.png")
    picture = Image.fromarray(CLASSES.astype(np.uint8), "P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    picture.save(tmp_path / "palette.png")
    read = ReadMaskd(["a", "b"], [0, 1, 2])({"a": tmp_path / "bit.png", "b": tmp_path / "palette.png"})
    assert (read["a"][0].numpy() == (CLASSES == 1)).all() and (read["b"][0].numpy() == CLASSES).all()


def test_a_mask_of_a_volume_lies_on_its_image_whatever_the_axes_and_the_spacing(tmp_path: Path) -> None:
    folder = make_volume_mask_phantom(tmp_path / "phantom", {"train": 6})
    for spacing in (None, 2.5):
        read = image_transforms(3, 1, spacing=spacing, mask_key="label")
        for image in sorted(folder.glob("*/images/*")):
            item = read({"image": image, "label": image.parents[1] / "labels" / image.name})
            assert item["image"].shape == item["label"].shape
            assert torch.allclose(item["image"].affine, item["label"].affine)
            inside = item["label"] == 1
            assert inside.any() and item["image"][inside].mean() > item["image"][~inside].mean() + 0.1


def test_crop_and_size_are_the_images_and_classes_stay_whole(tmp_path: Path) -> None:
    Image.fromarray(np.repeat(CLASSES[..., None], 3, 2).astype(np.uint8) * 60).save(tmp_path / "image.png")
    Image.fromarray(CLASSES.astype(np.uint8)).save(tmp_path / "mask.png")
    read = image_transforms(crop=6, size=[12, 12], mask_key="label", mask_values=[0, 1, 2])
    item = read({"image": tmp_path / "image.png", "label": tmp_path / "mask.png"})
    assert item["image"].shape == (3, 12, 12)
    assert (item["label"][0] == (item["image"][0] * 255 / 60).round()).all()


def test_a_number_of_no_class_is_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 9, dtype=np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"Expected the values 0, 1 in '.*mask.png', found 9"):
        ReadMaskd("label", [0, 1])({"label": tmp_path / "mask.png"})


def test_fractions_in_a_volume_are_refused_by_name(tmp_path: Path) -> None:
    volume = np.zeros((4, 4, 4), dtype=np.float32)
    volume[1] = 0.25
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "mask.nii.gz")
    with pytest.raises(DataError, match=r"whole numbers in '.*mask.nii.gz', found fractions, such as 0.25"):
        ReadMaskd("label", [0, 1])({"label": tmp_path / "mask.nii.gz"})


@pytest.mark.parametrize("values", [[0], [0, 0], [0, 1.5], "01", list(range(257))])
def test_values_that_cannot_stand_for_classes_are_refused(values: Any) -> None:
    with pytest.raises(ConfigurationError, match="mask_values must be"):
        ReadMaskd("label", values)


def test_classes_are_the_places_of_their_numbers() -> None:
    assert number_classes(np.array([7, -1, 3], dtype=np.int32), [3, 7, -1]).tolist() == [1, 2, 0]
