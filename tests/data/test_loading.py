# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, set_track_meta
from monai.utils import first
from nibabel.testing import data_path
from PIL import Image

from monai_gmcl.data.loading import ReadImaged, image_transforms
from monai_gmcl.exceptions import ConfigurationError, DataError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def _saved(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def _volume(path: Path, values: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


def _loaded(path: Path, **arguments: object) -> np.ndarray:
    image = image_transforms(**arguments)({"image": str(path)})["image"]
    assert image.dtype == torch.float32
    return np.asarray(image)


@pytest.mark.parametrize(("label", "batch"), [([0.0, 1.0, 1.0], [[0.0, 1.0, 1.0]] * 2), (1, [1, 1])])
def test_a_list_of_labels_is_stacked_to_a_row_of_a_batch(tmp_path: Path, label: object, batch: object) -> None:
    item = {"image": str(_saved(tmp_path / "a.png", RGB)), "label": label}
    loaded = first(DataLoader(Dataset([item, item], image_transforms()), batch_size=2))
    assert loaded["label"].tolist() == batch


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff"])
def test_an_rgb_image_comes_channel_first_upright_and_from_0_to_1(tmp_path: Path, suffix: str) -> None:
    image = _loaded(_saved(tmp_path / f"a.{suffix}", RGB))
    np.testing.assert_allclose(image, RGB.transpose(2, 0, 1) / 255, atol=1e-6)


def test_the_centre_is_cropped_then_averaged_to_the_size(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = _loaded(_saved(tmp_path / "a.png", values), crop=8, size=4)
    centre = values[2:10, 2:10].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(image, centre, atol=1e-6)


def test_a_size_for_each_side_is_rows_by_columns(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.png", RGB)
    assert _loaded(path, size=(3, 4)).shape == (3, 3, 4)
    assert _loaded(path, crop=(2, 5)).shape == (3, 2, 5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_comes_with_its_intensity_range_as_0_to_1(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(2).normal(0, 300, (4, 5, 6)).astype(np.float32)
    path = _volume(tmp_path / name, values)
    windowed = _loaded(path, spatial_dims=3, channels=1, intensity_range=(-100.0, 300.0))
    np.testing.assert_allclose(windowed[0], np.clip((values + 100) / 400, 0, 1), atol=1e-5)
    own = _loaded(path, spatial_dims=3, channels=1)
    np.testing.assert_allclose(own[0], (values - values.min()) / np.ptp(values), atol=1e-5)


def test_a_volume_of_the_other_byte_order_comes_with_its_place_in_space(tmp_path: Path) -> None:
    values, affine = np.arange(24, dtype=">i2").reshape(2, 3, 4), np.diag([2.0, 3.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine, nibabel.Nifti1Header(endianness=">")), tmp_path / "a.nii")
    volume = ReadImaged("image", 3, 1)({"image": tmp_path / "a.nii"})["image"]
    np.testing.assert_array_equal(volume[0], values)
    np.testing.assert_array_equal(volume.affine, affine)
    assert volume.meta["filename_or_obj"] == str(tmp_path / "a.nii")


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "PIR", "ILA"])
def test_a_volume_comes_the_same_however_it_is_stored(tmp_path: Path, axes: str, tracked: bool) -> None:
    values = np.random.default_rng(3).random((4, 5, 6), dtype=np.float32)
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) + np.outer([5, -7, 9, 0], [0, 0, 0, 1])
    wanted = nibabel.orientations.axcodes2ornt(axes)
    stored = nibabel.Nifti1Image(values, affine).as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), wanted)
    )
    assert "".join(nibabel.aff2axcodes(stored.affine)) == axes
    nibabel.save(stored, tmp_path / "a.nii.gz")
    try:
        set_track_meta(tracked)
        volume = ReadImaged("image", 3, 1)({"image": tmp_path / "a.nii.gz"})["image"]
    finally:
        set_track_meta(True)
    np.testing.assert_array_equal(volume[0], values)
    if tracked:
        np.testing.assert_allclose(volume.affine, affine)


@pytest.mark.parametrize(("spacing", "found"), [(1.5, (1.5, 1.5, 1.5)), ((1.0, 2.0, 4.0), (1.0, 2.0, 4.0))])
def test_a_volume_is_resampled_to_a_spacing_in_its_place(tmp_path: Path, spacing: object, found: object) -> None:
    affine = np.diag([2.0, 1.0, 3.0, 1.0]) + np.outer([5, -7, 9, 0], [0, 0, 0, 1])
    grid = np.stack(np.meshgrid(*map(np.arange, (12, 20, 9)), indexing="ij"), -1) @ affine[:3, :3] + affine[:3, 3]
    nibabel.save(nibabel.Nifti1Image((grid @ [1.0, 2.0, 3.0]).astype(np.float32), affine), tmp_path / "a.nii.gz")
    read = image_transforms(3, 1, intensity_range=(-100, 200), spacing=spacing)
    volume = read({"image": str(tmp_path / "a.nii.gz")})["image"]
    np.testing.assert_allclose(volume.pixdim, found, rtol=1e-6)
    size = np.asarray(volume.shape[1:])
    np.testing.assert_allclose(size * found, np.multiply((12, 20, 9), (2, 1, 3)), atol=4)
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1) @ np.asarray(volume.affine)[:3, :3]
    wanted = ((places + np.asarray(volume.affine)[:3, 3]) @ [1.0, 2.0, 3.0] + 100) / 300
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(np.asarray(volume[0])[inner], wanted[inner], atol=1e-4)


@pytest.mark.parametrize(("spacing", "dims"), [(0.0, 3), ((1.0, 2.0), 3), (float("nan"), 3), (1.0, 2)])
def test_a_spacing_that_is_none_is_refused(spacing: object, dims: int) -> None:
    with pytest.raises(ConfigurationError, match="one or three numbers above 0, in millimeters, for volumes; got"):
        image_transforms(dims, 1, spacing=spacing)


def test_without_meta_data_no_spacing_is_made_up(tmp_path: Path) -> None:
    path = _volume(tmp_path / "a.nii.gz", np.zeros((6, 7, 8), dtype=np.float32))
    try:
        set_track_meta(False)
        with pytest.raises(Exception, match="applying transform") as raised:
            image_transforms(3, 1, spacing=2.0)({"image": str(path)})
        assert isinstance(raised.value.__cause__, ConfigurationError)
    finally:
        set_track_meta(True)


@pytest.mark.parametrize(
    ("name", "channels", "shape"),
    [
        ("anatomical.nii", 1, (33, 41, 25)),
        ("example4d.nii.gz", 2, (128, 96, 24)),
        ("example_nifti2.nii.gz", 2, (32, 20, 12)),
        ("functional.nii", 20, (17, 21, 3)),
        ("reoriented_anat_moved.nii", 1, (21, 26, 22)),
    ],
)
def test_real_volumes_of_nibabel_s_package_are_read_as_nibabel_reads_them(
    name: str, channels: int, shape: tuple[int, ...]
) -> None:
    path = Path(data_path) / name
    volume = ReadImaged("image", 3, channels)({"image": path})["image"]
    theirs = nibabel.as_closest_canonical(nibabel.load(path))
    assert volume.shape == (channels, *shape)
    np.testing.assert_allclose(np.moveaxis(np.asarray(volume), 0, -1).squeeze(), theirs.get_fdata(), rtol=1e-5)
    np.testing.assert_allclose(volume.affine, theirs.affine, rtol=1e-5)
    scaled = image_transforms(3, channels, size=16)({"image": str(path)})["image"]
    assert scaled.shape == (channels, 16, 16, 16) and 0 <= scaled.min() < scaled.max() <= 1


def test_a_volume_with_other_channels_is_named(tmp_path: Path) -> None:
    path = _volume(tmp_path / "a.nii", np.zeros((4, 4, 4, 2), dtype=np.float32))
    with pytest.raises(DataError, match=r"1 channels and 3 dimensions in .*a.nii', found shape \(2, 4, 4, 4\)"):
        _loaded(path, spatial_dims=3, channels=1)
    assert _loaded(path, spatial_dims=3, channels=2).shape == (2, 4, 4, 4)


@pytest.mark.parametrize(("dims", "channels"), [(1, 1), (2, 2), (4, 1)])
def test_other_dims_or_channels_are_refused(dims: int, channels: int) -> None:
    with pytest.raises(ConfigurationError, match=f"got {dims} and {channels}"):
        ReadImaged("image", dims, channels)


def test_a_volume_is_no_picture_and_a_picture_no_volume(tmp_path: Path) -> None:
    volume, picture = _volume(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.float32)), _saved(tmp_path / "a.png", RGB)
    for path, dims, found in ((volume, 2, "a volume"), (picture, 3, "a picture")):
        with pytest.raises(DataError, match=f"found {found}"):
            _loaded(path, spatial_dims=dims, channels=1)


@pytest.mark.parametrize("size", [0, -1, (8, 0), (8, 8, 8), 8.5])
@pytest.mark.parametrize("name", ["crop", "size"])
def test_sizes_that_monai_would_leave_out_are_refused(name: str, size: object) -> None:
    with pytest.raises(ConfigurationError, match="crop and size must be"):
        image_transforms(2, 1, **{name: size})


def test_images_that_are_resized_are_announced_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [_saved(tmp_path / f"{i}.png", RGB) for i in range(2)]
    with caplog.at_level("INFO", "monai_gmcl"):
        load = image_transforms(size=(6, 9))
        load({"image": str(paths[0])})
        assert not caplog.messages
        load = image_transforms(size=4)
        for path in paths:
            load({"image": str(path)})
    (line,) = caplog.messages
    assert "6 x 9" in line and "4 x 4" in line
