# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data.mask_phantom import make_mask_phantom, make_volume_mask_phantom
from monai_gmcl.data.phantom_image import phantom_image, phantom_image_with_mask
from monai_gmcl.exceptions import ConfigurationError, DataError

FEW = {"train": 4, "valid": 1}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_each_image_has_a_mask_of_its_size_with_0_and_1(tmp_path: Path) -> None:
    folder = make_mask_phantom(tmp_path / "phantom", FEW, size=48)
    images = sorted(folder.glob("*/images/*.png"))
    assert len(images) == 5
    for path in images:
        mask = np.asarray(Image.open(path.parents[1] / "labels" / path.name))
        assert Image.open(path).mode == "RGB" and mask.shape == (48, 48)
        assert set(np.unique(mask)) == {0, 1}


def test_the_same_parameters_give_the_same_bytes_and_more_images_hold_the_fewer(tmp_path: Path) -> None:
    few = _files(make_mask_phantom(tmp_path / "a", FEW, size=32))
    assert few == _files(make_mask_phantom(tmp_path / "b", FEW, size=32))
    many = _files(make_mask_phantom(tmp_path / "c", {"train": 6, "valid": 1}, size=32))
    assert all(many[name] == content for name, content in few.items() if name.endswith(".png"))
    assert few != _files(make_mask_phantom(tmp_path / "d", FEW, size=32, seed=1))


def test_the_mask_changes_nothing_of_the_image_and_covers_its_dark_pixels() -> None:
    image, mask = phantom_image_with_mask(3, np.random.default_rng(5), 64)
    assert (image == phantom_image(3, np.random.default_rng(5), 64)).all()
    assert image[mask == 1].mean() < image[mask == 0].mean() - 40
    assert 0.05 < mask.mean() < 0.6


def test_a_volume_and_its_mask_have_one_geometry_and_the_lesion_is_bright(tmp_path: Path) -> None:
    folder = make_volume_mask_phantom(tmp_path / "phantom", FEW)
    images = sorted(folder.glob("*/images/*.nii.gz"))
    assert len(images) == 5
    for path in images:
        volume: Any = nibabel.load(path)
        mask: Any = nibabel.load(path.parents[1] / "labels" / path.name)
        assert volume.shape == mask.shape and (volume.affine == mask.affine).all()
        inside = np.asarray(mask.dataobj) == 1
        values = volume.get_fdata()
        assert 0 < inside.mean() < 0.2 and values[inside].mean() > values[~inside].mean() + 50


@pytest.mark.parametrize("wrong", [{"images": {}}, {"images": {"train": 0}}, {"size": 15}, {"seed": -1}])
def test_a_parameter_out_of_range_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Expected"):
        make_mask_phantom(tmp_path / "phantom", **wrong)
    assert not list(tmp_path.iterdir())


def test_other_parameters_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    make_mask_phantom(tmp_path / "phantom", FEW, size=32)
    with pytest.raises(DataError, match="Expected the same mask phantom"):
        make_mask_phantom(tmp_path / "phantom", FEW, size=32, seed=1)
