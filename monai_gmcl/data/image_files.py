# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Image files (PNG, JPEG, TIFF and NIfTI): the header is checked first, then the whole file is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeVar

import nibabel
import numpy as np
from monai.data.image_reader import NibabelReader
from monai.utils.enums import MetaKeys
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from monai_gmcl.data.channel_files import files_of
from monai_gmcl.data.dicom_series import is_series, read_series
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.file_faults import decoding_fault, file_fault, sides, unknown_fault
from monai_gmcl.exceptions import ConfigurationError

__all__ = [
    "PICTURES",
    "PIXEL_LIMITS",
    "check_pixel_limit",
    "is_volume",
    "picture_array",
    "picture_channels",
    "read_picture",
    "read_volume",
    "volume_channels",
]

Seen = TypeVar("Seen")

PIXEL_LIMITS = {2: 2**26, 3: 2**29}
"""Largest number of pixels of an image (8,192 x 8,192) and voxels of a volume (812 cubed), by spatial dimensions."""
PICTURES = "a readable PNG, JPEG or TIFF image"
VOLUMES = "a readable NIfTI volume or DICOM series"
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I")
ORIENTATION = 0x0112
DEEPEST = 65535


def read_picture(path: str | os.PathLike[str], pixel_limit: int | None = None) -> Image.Image | Fault:
    """Read a PNG, JPEG or TIFF image in the orientation of its EXIF tag, or report what is wrong with it.

    The header is checked before decoding, so that an image above the pixel limit uses no memory. The mode of the result
    is that of the file, and is accepted by :func:`picture_array`.
    """
    limit = PIXEL_LIMITS[2] if pixel_limit is None else pixel_limit

    def whole(image: Image.Image) -> Image.Image | Fault:
        unfit = _header_fault(image, str(path), limit)
        if unfit is not None:
            return unfit
        image.load()
        if image.getexif().get(ORIENTATION, 1) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        return _depth_fault(image, str(path)) or image

    return _look(path, whole)


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a volume: a NIfTI file (by its name) or a DICOM series."""
    return str(path).lower().endswith((".nii", ".nii.gz")) or is_series(path)


def picture_channels(path: str | os.PathLike[str]) -> int | Fault:
    """Return 1 for a gray image and 3 for a color image, by its header, or report what is wrong with it."""
    return _look(path, lambda image: 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3)


def _look(path: str | os.PathLike[str], look: Callable[[Image.Image], Seen | Fault]) -> Seen | Fault:
    """Return the result of ``look`` for an opened picture, or report why it cannot be opened."""
    unfit = file_fault(path, PICTURES)
    if unfit is not None:
        return unfit
    try:
        with open(path, "rb") as file:
            image = _opened(file, str(path))
            if image is None and is_volume(path):
                return Fault("dimensions", str(path), PICTURES, "a volume")
            return unknown_fault(path, PICTURES) if image is None else look(image)
    # Pillow's decoders raise nearly everything on damaged files: struct.error, SyntaxError, IndexError, ...
    except Exception as error:
        return decoding_fault(path, PICTURES, error)


def picture_array(image: Image.Image, channels: int) -> NDArray[np.float32]:
    """Convert a picture to numbers from 0 to 255, ``(1, H, W)`` gray or ``(3, H, W)`` RGB.

    16-bit gray values are divided by 257, without rounding. Of 16-bit colors, Pillow keeps the upper 8 bits.
    Transparent pixels are blended with white. Palette indices are replaced by their colors, and 1-bit values by 0 and
    255. CMYK and YCbCr are converted by Pillow's formulas without a color profile. Color is converted to gray by the
    luma of ITU-R 601.
    """
    if image.mode.startswith("I"):
        grey = np.asarray(image, dtype=np.float32) / np.float32(257.0)
        return np.stack([grey] * channels)
    array = np.asarray(flat_picture(image, channels), dtype=np.float32)
    return np.ascontiguousarray(array[None] if channels == 1 else array.transpose(2, 0, 1))


def flat_picture(image: Image.Image, channels: int) -> Image.Image:
    """Convert a picture of at most 8 bits to gray (1) or RGB (3), as in :func:`picture_array`."""
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), with_alpha)
    return image.convert("L" if channels == 1 else "RGB")


def check_pixel_limit(pixel_limit: Any) -> None:
    """Raise ConfigurationError unless a limit is None or an integer of at least 1."""
    whole = isinstance(pixel_limit, int) and not isinstance(pixel_limit, bool)
    if pixel_limit is not None and (not whole or pixel_limit < 1):
        raise ConfigurationError(f"pixel_limit must be a whole number of at least 1, got {pixel_limit!r}.")


def _opened(file: BinaryIO, path: str) -> Image.Image | None:
    """Read an image's header.

    ``Image.open`` is not used: some of its formats run other programs, and its pixel limit is global for the process.
    """
    magic = file.read(8)
    file.seek(0)
    if magic == b"\x89PNG\r\n\x1a\n":
        return PngImagePlugin.PngImageFile(file, path)
    if magic.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.jpeg_factory(file, path)
    if magic[:4] in TIFF_MAGIC:
        return TiffImagePlugin.TiffImageFile(file, path)
    return None


def _header_fault(image: Image.Image, path: str, limit: int) -> Fault | None:
    if image.width * image.height > limit:
        return Fault("pixel_limit", path, f"at most {limit:,} pixels", sides(image.size))
    if image.mode == "F":
        return Fault("pixel_type", path, "8 or 16 bits", "floating-point values")
    if image.mode not in MODES and not image.mode.startswith("I;16"):
        return Fault("pixel_type", path, "gray or color", f"the image mode {image.mode}")
    # phones store a preview with the photo (MPO); pages of TIFF and frames of PNG are separate images
    if image.format in ("TIFF", "PNG") and getattr(image, "is_animated", False):
        return Fault("pages", path, "one image", "several pages or frames")
    return None


def _depth_fault(image: Image.Image, path: str) -> Fault | None:
    if image.mode != "I":
        return None
    low, high = np.asarray(image).min(), np.asarray(image).max()
    if low < 0 or high > DEEPEST:
        return Fault("pixel_type", path, "8 or 16 bits", f"32 bits with values from {low} to {high}")
    return None


def read_volume(
    path: str | os.PathLike[str], pixel_limit: int | None = None
) -> tuple[NDArray[np.float32], dict[str, Any]] | Fault:
    """Read a NIfTI volume or a DICOM series with a limit on voxels times channels, or report what is wrong with it.

    Return the values of the file, scaled by its slope, ``(D, H, W)`` or ``(D, H, W, C)``, and MONAI's meta data. Axes
    of length 1 after the first three are removed. Axes are permuted and flipped to the nearest RAS orientation; the
    affine is updated.
    """
    limit = PIXEL_LIMITS[3] if pixel_limit is None else pixel_limit
    files = files_of(path)
    if len(files) > 1:
        return _joined_volume(files, limit)

    def whole(reader: NibabelReader, volume: Any) -> tuple[NDArray[np.float32], dict[str, Any]] | Fault:
        array, meta = reader.get_data(volume)
        # the affine of the file, as original_affine: a volume written with both affines has the axes of its file
        meta[MetaKeys.SPATIAL_SHAPE] = np.asarray(volume.shape[:3])
        array = np.asarray(array, dtype=np.float32)
        if not np.isfinite(array).all():
            return Fault("not_finite", str(path), "finite values", "NaN or infinity")
        return array.reshape(*array.shape[:3], *_channels(array.shape)), meta

    return _look_at_volume(path, whole, limit)


def _joined_volume(files: Sequence[str], limit: int) -> tuple[NDArray[np.float32], dict[str, Any]] | Fault:
    """Read files with one channel each as one volume ``(D, H, W, C)`` with the meta data of the first file."""
    volumes: list[tuple[NDArray[np.float32], dict[str, Any]]] = []
    for file in files:
        read = read_volume(file, limit // len(files))
        if isinstance(read, Fault):
            return read
        array, meta = read
        first, first_meta = volumes[0] if volumes else read
        if array.ndim > 3 or array.shape != first.shape:
            wanted = "one channel" if array.ndim > 3 else f"{sides(first.shape)} voxels, as in {files[0]!r},"
            return Fault("channels", file, wanted, sides(array.shape))
        if not np.allclose(meta[MetaKeys.AFFINE], first_meta[MetaKeys.AFFINE], atol=1e-3):
            return Fault("channels", file, f"the affine of {files[0]!r}", "a different affine")
        volumes.append(read)
    return np.stack([array for array, _ in volumes], -1), volumes[0][1]


def volume_channels(path: str | os.PathLike[str]) -> int | Fault:
    """Return the number of channels of a volume by its header (1 for DICOM), or report what is wrong with it."""
    files = files_of(path)
    if len(files) > 1:
        counts = [volume_channels(file) for file in files]
        return next((count for count in counts if isinstance(count, Fault)), len(files))
    if is_series(path):
        return 1
    return _look_at_volume(path, lambda _, volume: int(np.prod(_channels(volume.shape))))


def _look_at_volume(
    path: str | os.PathLike[str], look: Callable[[NibabelReader, Any], Seen | Fault], limit: int | None = None
) -> Seen | Fault:
    """Return the result of ``look`` for an opened volume within the voxel limit, or report what is wrong with it."""
    series = is_series(path)
    unfit = None if series else file_fault(path, VOLUMES)
    if unfit is not None:
        return unfit
    reader = NibabelReader(as_closest_canonical=True)
    try:
        volume: Any = read_series(path, limit) if series else reader.read(str(path))
        reader.filenames = [str(path)]
        unfit = volume if isinstance(volume, Fault) else _volume_fault(volume, str(path), limit)
        return unfit or look(reader, volume)
    except nibabel.filebasedimages.ImageFileError:
        return unknown_fault(path, VOLUMES) if is_volume(path) else Fault("dimensions", str(path), VOLUMES, "a picture")
    except Exception as error:
        return decoding_fault(path, VOLUMES, error)


def _channels(shape: Sequence[int]) -> list[int]:
    """The axes after the first three, without axes of length 1 (such as a single point in time)."""
    return [side for side in shape[3:] if side != 1]


def _volume_fault(volume: Any, path: str, limit: int | None = None) -> Fault | None:
    shape = tuple(volume.shape)
    if len(shape) < 3 or len(_channels(shape)) > 1:
        return Fault(
            "dimensions", path, "3 dimensions, or 4 with channels (save 2 dimensions as PNG or TIFF),", f"shape {shape}"
        )
    voxels = int(np.prod([max(int(side), 0) for side in shape], dtype=object))
    if limit is not None and not 0 < voxels <= limit:
        return Fault("pixel_limit", path, f"1 to {limit:,} voxels", sides(shape))
    dtype = volume.get_data_dtype()
    if dtype.kind not in "iuf":
        found = f"colors ({', '.join(dtype.names)})" if dtype.names else f"{dtype}"
        return Fault("pixel_type", path, "real numbers", found)
    return None
