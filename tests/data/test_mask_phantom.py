# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from monai_gmcl.data.mask_phantom import make_mask_phantom, make_volume_mask_phantom
from monai_gmcl.data.phantom_image import phantom_image, phantom_image_with_mask

FEW = {"train": 4, "valid": 1}


def test_each_image_has_a_mask_of_its_size_with_0_and_1(tmp_path: Path) -> None:
    folder = make_mask_phantom(tmp_path / "phantom", FEW, size=48)
    images = sorted(folder.glob("*/images/*.png"))
    assert len(images) == 5
    for path in images:
        mask = np.asarray(Image.open(path.parents[1] / "labels" / path.name))
        assert Image.open(path).mode == "RGB" and mask.shape == (48, 48)
        assert set(np.unique(mask)) == {0, 1}


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
