# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of bad mask, put into a good data set one at a time, gives one finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data import make_mask_phantom, make_volume_mask_phantom, open_segmentation_data
from monai_gmcl.data.faults import KINDS
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import DataError

MASK = "train/labels/0001.png"
VOLUME = "train/labels/0001.nii.gz"
Spoil = Callable[[Path], object]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_mask_phantom(tmp_path / "pictures", {"train": 6, "valid": 2, "test": 2}, size=32)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return make_volume_mask_phantom(tmp_path / "volumes", {"train": 4, "valid": 2, "test": 2})


def _values(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path))


def _changed(change: Callable[[Any], Any]) -> Spoil:
    return lambda path: Image.fromarray(change(_values(path).copy())).save(path)


def _one_pixel(number: int) -> Spoil:
    def change(values: Any) -> Any:
        values[3, 3] = number
        return values

    return _changed(change)


def _jpeg(path: Path) -> None:
    Image.fromarray(_values(path)).save(path.with_suffix(".jpg"))
    path.unlink()


def _palette(path: Path) -> None:
    picture = Image.fromarray(_values(path), "P")
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(path)


PICTURES: dict[str, tuple[str, Spoil]] = {
    "gone": ("no_mask", Path.unlink),
    "without its image": ("no_image", lambda path: (path.parents[1] / "images" / path.name).unlink()),
    "smaller": ("mask_size", _changed(lambda values: values[:, 4:])),
    "one pixel of no class": ("unknown_value", _one_pixel(77)),
    "background alone": ("empty_mask", _changed(lambda values: values * np.uint8(0))),
    "JPEG": ("mask_format", _jpeg),
    "palette": ("palette", _palette),
    "RGB": ("mask_colors", _changed(lambda values: np.repeat(values[..., None], 3, 2))),
    "transparent": ("mask_colors", lambda path: Image.fromarray(_values(path)).convert("LA").save(path)),
    "empty file": ("empty_file", lambda path: path.write_bytes(b"")),
    "text": ("not_an_image", lambda path: path.write_text("no mask")),
    "cut": ("truncated", lambda path: path.write_bytes(path.read_bytes()[:60])),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_bad_mask_is_found_by_its_kind(pictures: Path, name: str) -> None:
    kind, spoil = PICTURES[name]
    assert check_source(pictures).faults == ()
    spoil(pictures / MASK)
    (fault,) = check_source(pictures).faults
    assert fault.kind == kind and Path(fault.file).stem == "0001"
    if fault.is_error:
        with pytest.raises(DataError, match="0001"):
            open_segmentation_data(pictures)
    else:
        assert len(open_segmentation_data(pictures).training) == 6


def _stored(path: Path, values: Any, affine: Any) -> None:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def _moved(path: Path) -> None:
    volume: Any = nibabel.load(path)
    affine = volume.affine.copy()
    affine[:3, 3] += 4
    _stored(path, np.asarray(volume.dataobj), affine)


def _fractions(path: Path) -> None:
    volume: Any = nibabel.load(path)
    _stored(path, volume.get_fdata(dtype=np.float32) * np.float32(0.5), volume.affine)


def _channels(path: Path) -> None:
    volume: Any = nibabel.load(path)
    _stored(path, np.repeat(np.asarray(volume.dataobj)[..., None], 2, -1), volume.affine)


def _sloped(path: Path) -> None:
    volume: Any = nibabel.load(path)
    sloped: Any = nibabel.Nifti1Image(np.asarray(volume.dataobj) * np.uint8(49), volume.affine)
    sloped.header.set_slope_inter(1 / 49, 0)
    nibabel.save(sloped, path)


def test_a_slope_in_a_volume_s_file_does_not_make_fractions(volumes: Path) -> None:
    _sloped(volumes / VOLUME)
    assert check_source(volumes).faults == ()


VOLUMES: dict[str, tuple[str, Spoil]] = {
    "beside its image": ("mask_geometry", _moved),
    "fractions": ("unknown_value", _fractions),
    "channels": ("mask_channels", _channels),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_bad_mask_of_a_volume_is_found_by_its_kind(volumes: Path, name: str) -> None:
    kind, spoil = VOLUMES[name]
    assert check_source(volumes).faults == ()
    spoil(volumes / VOLUME)
    assert [(fault.kind, Path(fault.file).name) for fault in check_source(volumes).faults] == [(kind, "0001.nii.gz")]


def test_one_image_with_two_masks_and_one_in_two_parts_are_found(pictures: Path) -> None:
    image = (pictures / "train/images/0001.png").read_bytes()
    (pictures / "train/images/0002.png").write_bytes(image)
    (pictures / "test/images/0000.png").write_bytes(image)
    assert [fault.kind for fault in check_source(pictures).errors] == ["leak", "two_labels"]


def test_masks_of_numbers_that_do_not_follow_each_other_ask_for_their_meaning(pictures: Path) -> None:
    for path in pictures.glob("*/labels/*"):
        _changed(lambda values: values * np.uint8(85))(path)
    errors = check_source(pictures).errors
    assert {fault.kind for fault in errors} == {"unknown_value"}
    assert "mask_values" in KINDS["unknown_value"].remedy
    assert open_segmentation_data(pictures, mask_values=[0, 85]).mask_values == [0, 85]


def test_a_mask_that_a_table_gives_to_two_images_is_told_of(pictures: Path) -> None:
    rows = [f"train/images/000{row}.png,train/labels/000{min(row, 4)}.png" for row in range(6)]
    (table := pictures / "list.csv").write_text("\n".join(["image,label", *rows]))
    assert [fault.kind for fault in check_source(table).faults] == ["mask_twice"]
