# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing of synthetic images and masks to files with reproducible bytes, and reading of the images."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.type_conversion import convert_to_tensor
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

__all__ = ["encode_image", "encode_mask", "read_image", "suffix"]


def suffix(spatial_dims: int) -> str:
    """Return the file suffix of an image."""
    return ".png" if spatial_dims == 2 else ".nii.gz"


def encode_image(image: Tensor, comment: str, intensity_range: tuple[float, float] | None = None) -> bytes:
    """Return an image as a PNG, or a volume as compressed NIfTI; the same image gives the same bytes.

    The image is ``(C, H, W)`` with one or three channels, or ``(C, D, H, W)``, with values from 0 to 1. The range gives
    the file values of 0 and 1; the default is 0 and 255 for PNG, 0 and 1 for NIfTI. A PNG has 8 bits, or 16 bits if a
    gray image has a range above 255; ranges that do not fit into a PNG are replaced by the default. The NIfTI header is
    new; only the geometry (the affine of a MetaTensor) comes from the source. The comment is stored in the file.
    """
    values = convert_to_tensor(image, track_meta=False).clamp(0, 1).float().numpy()
    low, high = _png_range(intensity_range, len(values)) if values.ndim == 3 else intensity_range or (0.0, 1.0)
    values = low + (high - low) * values
    if values.ndim == 3:
        most, kind = (255, np.uint8) if high <= 255 else (65535, np.uint16)
        pixels = np.rint(values).clip(0, most).astype(kind)
        picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        info = PngInfo()
        info.add_text("Comment", comment)
        return _png(picture, pnginfo=info)
    return _nifti(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1), image, comment)


def encode_mask(mask: Tensor, image: Tensor) -> bytes:
    """Return class indices from 0 to 255 as an 8-bit gray PNG, or ``(1, D, H, W)`` as compressed NIfTI.

    The same mask gives the same bytes. The mask of a volume gets the affine of its image, a MetaTensor.
    """
    classes = convert_to_tensor(mask, track_meta=False)[0].numpy().astype(np.uint8)
    return _png(Image.fromarray(classes)) if classes.ndim == 2 else _nifti(classes, image)


def read_image(path: Path, intensity_range: tuple[float, float] | None = None) -> Tensor:
    """Read an image of :func:`encode_image`: ``(C, H, W)`` or ``(C, D, H, W)``, values from 0 to 1."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            low, high = _png_range(intensity_range, len(picture.getbands()))
            pixels = (torch.from_numpy(np.array(picture).astype(np.float32)) - low) / (high - low)
        return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    volume: Any = nib.load(path)
    values = volume.get_fdata(dtype=np.float32)
    low, high = intensity_range or (0.0, 1.0)
    values = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    return (torch.from_numpy(np.ascontiguousarray(values)) - low) / (high - low)


def _png(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def _nifti(values: NDArray[Any], image: Tensor, comment: str = "") -> bytes:
    affine = image.affine.numpy() if isinstance(image, MetaTensor) else np.eye(4)
    volume: Any = nib.Nifti1Image(values, affine)  # type: ignore[no-untyped-call]
    volume.header.set_xyzt_units("mm")
    volume.header["descrip"] = comment.encode("ascii", "replace")[:79]
    # without a time stamp, which would differ between runs
    return gzip.compress(volume.to_bytes(), compresslevel=6, mtime=0)


def _png_range(intensity_range: tuple[float, float] | None, channels: int) -> tuple[float, float]:
    low, high = intensity_range or (0.0, 255.0)
    return (low, high) if 0 <= low < high <= (65535 if channels == 1 else 255) else (0.0, 255.0)
