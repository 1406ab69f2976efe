# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import picture_array, picture_channels, read_picture, read_volume, volume_channels
from monai_gmcl.data.loading import ReadImaged, image_transforms
from monai_gmcl.exceptions import ConfigurationError, DataError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
LUMA = (0.299, 0.587, 0.114)


def _read(path: Path, channels: int) -> np.ndarray:
    """The picture as ``(H, W)`` or ``(H, W, 3)``."""
    found = read_picture(path)
    assert isinstance(found, Image.Image), found
    array = picture_array(found, channels)
    assert array.dtype == np.float32 and array.shape[0] == channels
    return array[0] if channels == 1 else array.transpose(1, 2, 0)


def _one_bit(path: Path) -> np.ndarray:
    Image.fromarray((GREY > 127).astype(np.uint8) * 255).convert("1").save(path)
    return (GREY > 127) * 255.0


def _grey(path: Path) -> np.ndarray:
    Image.fromarray(GREY).save(path)
    return GREY


def _rgb(path: Path) -> np.ndarray:
    Image.fromarray(RGB).save(path)
    return RGB


def _grey_of_16_bits(path: Path) -> np.ndarray:
    values = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1236
    Image.fromarray(values).save(path)
    return values / 257.0


def _rgb_of_16_bits(path: Path) -> np.ndarray:
    """Written by hand: Pillow has no such images. Color type 2, 16 bits, big endian."""
    values = (RGB.astype(np.uint16) * 256 + 77).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 9, 6, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)
    return RGB


def _palette(path: Path) -> np.ndarray:
    colors = RGB.reshape(-1, 3)[:16]
    image = Image.frombytes("P", (9, 6), (GREY % 16).tobytes())
    image.putpalette(colors.flatten().tolist())
    image.save(path)
    return colors[GREY % 16]


def _rgba(path: Path) -> np.ndarray:
    alpha = GREY[::-1].copy()
    Image.fromarray(np.dstack([RGB, alpha])).save(path)
    share = alpha[..., None] / 255.0
    return RGB * share + 255 * (1 - share)


def _grey_with_alpha(path: Path) -> np.ndarray:
    alpha = GREY[::-1].copy()
    Image.fromarray(np.dstack([GREY, alpha])).save(path)
    return GREY * (alpha / 255.0) + 255 * (1 - alpha / 255.0)


def _transparent_color(path: Path) -> np.ndarray:
    Image.fromarray(RGB).save(path, transparency=tuple(int(value) for value in RGB[2, 3]))
    seen = RGB.copy()
    seen[(RGB[2, 3] == RGB).all(-1)] = 255
    return seen


def _cmyk(path: Path) -> np.ndarray:
    inks = np.random.default_rng(1).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    Image.frombytes("CMYK", (9, 6), inks.tobytes()).save(path)
    return (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255.0


PNG = [_one_bit, _grey, _rgb, _grey_of_16_bits, _rgb_of_16_bits, _palette, _rgba, _grey_with_alpha, _transparent_color]
TIFF = [_one_bit, _grey, _rgb, _grey_of_16_bits, _palette, _rgba, _cmyk]
MODES = [(write, "png") for write in PNG] + [(write, "tif") for write in TIFF]


@pytest.mark.parametrize(("write", "suffix"), MODES, ids=[f"{write.__name__[1:]}-{suffix}" for write, suffix in MODES])
def test_every_mode_has_its_conversion(tmp_path: Path, write: Callable[[Path], np.ndarray], suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    seen = write(path)
    as_rgb = np.dstack([seen] * 3) if seen.ndim == 2 else seen
    np.testing.assert_allclose(_read(path, 3), as_rgb, atol=1.01)
    np.testing.assert_allclose(_read(path, 1), as_rgb @ LUMA, atol=1.51)


def test_grey_of_16_bits_keeps_its_depth_in_three_channels_too(tmp_path: Path) -> None:
    values = _grey_of_16_bits(tmp_path / "a.png")
    for channel in range(3):
        np.testing.assert_allclose(_read(tmp_path / "a.png", 3)[..., channel], values, rtol=1e-6)


def test_a_cmyk_jpeg_is_read_with_adobes_inversion_undone(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(_read(tmp_path / "a.jpg", 3)[8, 8], (255, 0, 0), atol=8)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_every_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, upright: Callable[[np.ndarray], np.ndarray], suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path, exif=exif, **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {}))
    np.testing.assert_allclose(_read(path, 3), upright(RGB), atol=6 if suffix == "jpg" else 0)


def test_of_a_phones_photo_with_a_preview_the_photo_is_read(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.fromarray(RGB[:2, :3].copy())]
    )
    assert _read(tmp_path / "a.jpg", 3).shape == RGB.shape


def test_channels_are_told_by_the_header_alone(tmp_path: Path) -> None:
    for write, channels in ((_one_bit, 1), (_grey_of_16_bits, 1), (_grey_with_alpha, 1), (_palette, 3), (_rgba, 3)):
        write(tmp_path / "a.png")
        assert picture_channels(tmp_path / "a.png") == channels
        (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])
        assert picture_channels(tmp_path / "a.png") == channels
    for content in (b"", b"no image", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "a.png").write_bytes(content)
        assert isinstance(picture_channels(tmp_path / "a.png"), Fault)


def test_a_bomb_is_refused_before_it_takes_memory_and_the_limit_is_the_users(tmp_path: Path) -> None:
    Image.new("1", (12000, 12000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 40000
    with pytest.raises(DataError, match=r"at most 67,108,864 pixels in '.*a.png', found 12,000 x 12,000"):
        ReadImaged("image")({"image": tmp_path / "a.png"})
    _rgb(tmp_path / "b.png")
    assert ReadImaged("image", pixel_limit=54)({"image": tmp_path / "b.png"})["image"].shape == (3, 6, 9)
    with pytest.raises(DataError, match="at most 53 pixels in .*b.png', found 9 x 6"):
        image_transforms(pixel_limit=53)({"image": tmp_path / "b.png"})
    volume = nibabel.Nifti1Image(np.zeros((4, 5, 6), dtype=np.float32), np.eye(4))
    nibabel.save(volume, tmp_path / "c.nii.gz")
    assert not isinstance(read_volume(tmp_path / "c.nii.gz", 120), Fault)
    with pytest.raises(DataError, match="1 to 119 voxels in .*c.nii.gz', found 4 x 5 x 6"):
        image_transforms(3, 1, pixel_limit=119)({"image": tmp_path / "c.nii.gz"})
    with pytest.raises(ConfigurationError, match="pixel_limit must be a whole number of at least 1, got 0"):
        ReadImaged("image", pixel_limit=0)


@pytest.mark.parametrize("name", ["a.png", "a.nii.gz"])
def test_folders_links_to_nothing_and_missing_files_are_named(tmp_path: Path, name: str) -> None:
    read = read_picture if name.endswith("png") else read_volume
    (tmp_path / name).symlink_to(tmp_path / "gone")
    (tmp_path / "folder").mkdir()
    found = [read(tmp_path / name), read(tmp_path / "folder"), read(tmp_path / "none")]
    assert [(fault.kind, fault.found) for fault in found if isinstance(fault, Fault)] == [
        ("not_an_image", "a broken link"),
        ("not_an_image", "a folder"),
        ("missing", "no file"),
    ]


@pytest.mark.parametrize(
    ("shape", "read"),
    [((4, 5, 6, 1), (4, 5, 6)), ((4, 5, 6, 1, 1), (4, 5, 6)), ((4, 5, 6, 1, 3), (4, 5, 6, 3)), ((4, 5, 1), (4, 5, 1))],
)
def test_axes_of_length_1_after_the_third_are_left_out(
    tmp_path: Path, shape: tuple[int, ...], read: tuple[int, ...]
) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, dtype=np.float32), np.eye(4)), tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii")
    assert not isinstance(found, Fault) and found[0].shape == read
    assert volume_channels(tmp_path / "a.nii") == (read[3] if len(read) > 3 else 1)


def test_a_volume_of_colors_and_a_flat_one_say_what_to_do(tmp_path: Path) -> None:
    colors = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colors, np.eye(4)), tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5)), np.eye(4)), tmp_path / "b.nii")
    for read in (read_volume, volume_channels):
        fault = read(tmp_path / "a.nii")
        assert isinstance(fault, Fault) and fault.found == "colors (R, G, B)" and "a fourth axis" in fault.remedy
        fault = read(tmp_path / "b.nii")
        assert isinstance(fault, Fault) and "as PNG or TIFF" in fault.expected


@pytest.mark.parametrize("name", ["a.png", "a.nii", "a.tif"])
def test_dicom_by_another_name_is_called_dicom(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 500)
    fault = read_volume(tmp_path / name) if name.endswith("nii") else read_picture(tmp_path / name)
    assert isinstance(fault, Fault) and (fault.kind, fault.found) == ("dicom", "DICOM")
