# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gzip
import time

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_gmcl.data import image_transforms
from monai_gmcl.synthesis.image_files import encode_image, read_image, suffix

AFFINE = np.array([[0, -1.5, 0, 10], [2, 0, 0.25, -4], [0, 0, 3, 7], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (1, 4, 5, 6), (2, 4, 5, 6)])
def test_an_image_comes_back_as_it_was_written(shape, tmp_path):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    path = tmp_path / f"image{suffix(len(shape) - 1)}"
    path.write_bytes(encode_image(image, "synthetic", (-100.0, 300.0)))
    torch.testing.assert_close(read_image(path, (-100.0, 300.0)), image, atol=0.5 / 255 + 1e-6, rtol=0)


def test_colors_stand_where_other_readers_look_for_them(tmp_path):
    image = torch.zeros(3, 2, 3)
    image[:, 0, 1] = torch.tensor([1.0, 0.5, 0.0])
    (tmp_path / "a.png").write_bytes(encode_image(image, "synthetic"))
    assert Image.open(tmp_path / "a.png").getpixel((1, 0)) == (255, 128, 0)


def test_values_outside_are_clipped(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_image(torch.tensor([[[-1.0, 0.5, 2.0]]]), "synthetic"))
    assert list(np.asarray(Image.open(tmp_path / "a.png"))[0]) == [0, 128, 255]


def test_a_volume_has_the_geometry_of_its_meta_and_a_new_header(tmp_path):
    values = torch.rand(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    meta = {"descrip": "Jane Doe", "aux_file": "jane.nii", "filename_or_obj": "/data/jane.nii"}
    content = encode_image(MetaTensor(values, affine=torch.from_numpy(AFFINE), meta=meta), "synthetic", (0.0, 10.0))
    assert b"ane" not in gzip.decompress(content)[:352]
    (tmp_path / "a.nii.gz").write_bytes(content)
    volume = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.affine, AFFINE)
    np.testing.assert_allclose(volume.header.get_zooms(), np.sqrt((AFFINE[:3, :3] ** 2).sum(0)), rtol=1e-6)
    np.testing.assert_allclose(volume.get_fdata(), 10 * values[0], rtol=1e-6)
    assert volume.header.get_xyzt_units()[0] == "mm" and bytes(volume.header["descrip"]).startswith(b"synthetic")


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 4, 5, 6)])
def test_the_bytes_do_not_depend_on_the_time(shape, monkeypatch):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    before = encode_image(image, "synthetic")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert encode_image(image, "synthetic") == before


@pytest.mark.parametrize(
    ("channels", "limits", "dtype"),
    [
        (1, (0.0, 4095.0), np.uint16),
        (1, (1000.0, 65535.0), np.uint16),
        (1, (10.0, 200.0), np.uint8),
        (3, (0.0, 100.0), np.uint8),
    ],
)
def test_an_image_has_the_numbers_of_its_range_and_is_read_with_it(channels, limits, dtype, tmp_path):
    image = torch.rand((channels, 9, 7), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "image.png"
    path.write_bytes(encode_image(image, "synthetic", limits))
    stored = np.asarray(Image.open(path))
    assert limits[0] <= stored.min() and stored.max() <= limits[1] and (stored.max() > 255) == (dtype == np.uint16)
    step = 1 / (limits[1] - limits[0])
    torch.testing.assert_close(read_image(path, limits), image, atol=step, rtol=0)
    again = image_transforms(2, channels, intensity_range=limits)({"image": str(path)})["image"].as_tensor()
    torch.testing.assert_close(again, image, atol=step, rtol=0)
