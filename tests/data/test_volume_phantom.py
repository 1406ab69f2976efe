# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from monai_gmcl.data import make_volume_phantom, open_data
from monai_gmcl.data.volume_phantom import LESION_SHAPES, phantom_volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_volume_phantom(tmp_path_factory.mktemp("data") / "volumes", {"train": 6, "valid": 2, "test": 2})


def test_class_folders_of_volumes_open_as_a_data_set(folder: Path) -> None:
    data = open_data(folder)
    assert data.spatial_dims == 3 and data.channels == 1 and data.class_names == list(LESION_SHAPES)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [24, 8, 8]


def test_files_differ_as_those_of_several_scanners(folder: Path) -> None:
    volumes: list[Any] = [nibabel.load(file) for file in sorted(folder.rglob("*.nii.gz"))]
    assert len({nibabel.aff2axcodes(volume.affine) for volume in volumes}) > 4
    assert len({volume.shape for volume in volumes}) > 10
    for volume in volumes:
        zooms = np.asarray(volume.header.get_zooms())
        np.testing.assert_allclose(zooms * volume.shape, 48, rtol=1e-5)
        assert np.abs(volume.affine[:3, :3]).astype(bool).sum() > 3, "tilted"


def brightest(volume: np.ndarray) -> np.ndarray:
    """The largest connected bright part."""
    smooth = ndimage.gaussian_filter(volume.astype(float), 1.0)
    parts, count = ndimage.label(smooth > smooth.min() + 0.55 * np.ptp(smooth))
    sizes = ndimage.sum(np.ones_like(smooth), parts, range(1, count + 1))
    return parts == 1 + int(np.argmax(sizes))


def test_only_a_shell_encloses_what_is_dark() -> None:
    hollow = []
    for shape in range(4):
        volumes = [phantom_volume(shape, np.random.default_rng([7, shape, i]), (1.5, 1.5, 1.5)) for i in range(30)]
        parts = [brightest(volume) for volume in volumes]
        hollow.append(np.mean([(ndimage.binary_fill_holes(part) & ~part).sum() > 20 for part in parts]))
    assert hollow[1] > 0.3 and max(hollow[0], hollow[2], hollow[3]) < 0.1
