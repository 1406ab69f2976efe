# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms that read images as tensors from 0 to 1."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import CenterSpatialCropd
from monai.transforms.intensity.dictionary import ScaleIntensityd, ScaleIntensityRanged
from monai.transforms.spatial.dictionary import Resized, Spacingd
from monai.transforms.transform import MapTransform, Transform
from monai.utils.enums import MetaKeys
from monai.utils.misc import ImageMetaKey
from numpy.typing import NDArray
from torch import Tensor

from monai_gmcl.data.channel_files import files_of
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import check_pixel_limit, read_picture, read_volume
from monai_gmcl.data.intensities import check_intensity_range, scaled_picture
from monai_gmcl.data.mask_files import ReadMaskd
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.ranks import Ranks

__all__ = ["ReadImaged", "image_transforms"]

logger = logging.getLogger(__name__)


class ReadImaged(MapTransform):
    """Read an image as float ``(C, H, W)``, or a volume as ``(C, D, H, W)``.

    PNG, JPEG and TIFF images are read with values from 0 to 255, in the orientation of their EXIF tag:

    ============================  ====================================================================================
    gray, RGB                     unchanged; gray to RGB by three equal channels, RGB to gray by the luma of ITU-R 601
    1 bit                         0 and 255
    palette                       colors of the palette
    16-bit gray                   scaled without rounding: see ``intensity_range``
    16-bit RGB                    the upper 8 bits, as read by Pillow
    alpha, transparent color      blended with white
    CMYK, YCbCr                   converted by Pillow without a color profile
    floating point, 32 bits, LAB  error
    several pages or frames       error, except a phone's photo with a preview (MPO): the photo is read
    ============================  ====================================================================================

    NIfTI volumes and DICOM series (folders of slices; install ``monai_gmcl[dicom]``) are reoriented to RAS. Several
    files with one channel each are one volume (``case_{0000,0001}.nii.gz``). NaN and infinity raise an error. Images
    above the pixel limit raise an error before decoding.

    Args:
        keys: keys of the paths.
        spatial_dims: 2 for PNG, JPEG and TIFF, 3 for NIfTI and DICOM series.
        channels: 1 (gray) or 3 (RGB) for images; files with another number are converted. For volumes, the number of
            channels of the files.
        pixel_limit: largest number of pixels of an image, or of voxels of a volume. Default: 2**26 (8,192 x 8,192) for
            images, 2**29 for volumes.
        intensity_range: for images, the file values that are mapped to 0 and 255; values outside are clipped. Default:
            0 and 255 for 8-bit images. For 16-bit gray images 0 and 65,535 or, if an image uses less than .3 of this
            range, its .5 % and 99.5 % quantiles. Values of volumes are not scaled.

    Raises:
        ConfigurationError: wrong dimensions, channels, limit or range, or a range for volumes.
        DataError: a file cannot be read; the message of one line names the file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_dims: int = 2,
        channels: int = 3,
        pixel_limit: int | None = None,
        intensity_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(keys)
        if spatial_dims not in (2, 3) or (spatial_dims == 2 and channels not in (1, 3)):
            raise ConfigurationError(
                f"Expected spatial_dims 2 with 1 or 3 channels, or spatial_dims 3, got {spatial_dims} and {channels}."
            )
        check_pixel_limit(pixel_limit)
        if spatial_dims == 3 and intensity_range is not None:
            raise ConfigurationError("ReadImaged does not scale volumes. Give intensity_range to image_transforms.")
        self.intensity_range = check_intensity_range(intensity_range)
        self.spatial_dims = spatial_dims
        self.channels = channels
        self.pixel_limit = pixel_limit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        read = dict(data)
        for key in self.key_iterator(read):
            read[key] = self._picture(read[key]) if self.spatial_dims == 2 else self._volume(read[key])
        return read

    def _picture(self, path: Any) -> Tensor:
        found = read_picture(path, self.pixel_limit)
        if isinstance(found, Fault):
            raise found.error()
        meta = {"mode": found.mode, MetaKeys.SPATIAL_SHAPE: np.asarray(found.size[::-1])}
        return _with_meta(scaled_picture(found, self.channels, self.intensity_range), meta, path)

    def _volume(self, path: Any) -> Tensor:
        found = read_volume(path, self.pixel_limit)
        if isinstance(found, Fault):
            raise found.error()
        array, meta = found
        array = np.moveaxis(array, -1, 0) if array.ndim > 3 else array[None]
        if array.shape[0] != self.channels:
            raise DataError(
                f"Expected {self.channels} channels and 3 dimensions in {str(path)!r}, found shape {array.shape}."
            )
        return _with_meta(array, meta, path)


def _with_meta(array: NDArray[np.float32], meta: dict[str, Any], path: Any) -> Tensor:
    """Return the array as MONAI's readers do: with its meta data, if MONAI tracks them."""
    meta = {**meta, MetaKeys.ORIGINAL_CHANNEL_DIM: 0, ImageMetaKey.FILENAME_OR_OBJ: files_of(path)[0]}
    tensor: Tensor = MetaTensor.ensure_torch_and_prune_meta(array, meta)
    return tensor


class _NamingCompose(Compose):
    """A Compose that raises the DataError with the file name instead of MONAI's "applying transform" error."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except RuntimeError as error:
            if isinstance(error.__cause__, DataError):
                raise error.__cause__ from None
            raise


def image_transforms(
    spatial_dims: int = 2,
    channels: int = 3,
    crop: int | Sequence[int] | None = None,
    size: int | Sequence[int] | None = None,
    intensity_range: tuple[float, float] | None = None,
    key: str = "image",
    pixel_limit: int | None = None,
    spacing: float | Sequence[float] | None = None,
    mask_key: str | None = None,
    mask_values: Sequence[int] = (0, 1),
) -> Compose:
    """Return transforms that read an image as float ``(C, ...)`` with values from 0 to 1 and, optionally, its mask.

    A list of K labels under the key ``label`` becomes a float tensor ``(K,)``, which loaders stack to ``(B, K)``.

    Args:
        spatial_dims: 2 for PNG, JPEG, TIFF; 3 for NIfTI.
        channels: 1 or 3 for 2-D images; the number of channels of the volumes for 3-D.
        crop: size of the center crop in pixels, applied after resampling. Default: no crop.
        size: size to which images are resized after the crop (area interpolation). The first resized image is logged.
            Default: no resizing.
        intensity_range: the file values that are mapped to 0 and 1; values outside are clipped. Default: 0 and 255 for
            8-bit images; see :class:`ReadImaged` for 16-bit images; the minimum and maximum of each volume.
        key: key of the path, and of the image that replaces it.
        pixel_limit: largest number of pixels of an image, or of voxels of a volume. Default: see :class:`ReadImaged`.
        spacing: voxel spacing in millimeters to which NIfTI volumes are resampled (linear interpolation). Default: no
            resampling.
        mask_key: key of the path of the mask, and of the class indices, uint8 ``(1, ...)``, that replace it. Spacing,
            crop and size are those of the image, with nearest-neighbor interpolation. Default: no mask.
        mask_values: see :class:`~monai_gmcl.data.ReadMaskd`.

    Raises:
        ConfigurationError: wrong dimensions, channels, limit, range, sizes or mask values, or a spacing that is not
            above 0 or is for 2-D images; when called, a spacing while MONAI does not track meta data.
        DataError: when called, a file cannot be read; the message names the file. (Inside another Compose, MONAI raises
            a RuntimeError with this error as its cause.)
    """
    intensity_range = check_intensity_range(intensity_range)
    own_range = intensity_range if spatial_dims == 2 else None
    steps: list[Any] = [ReadImaged(key, spatial_dims, channels, pixel_limit, own_range)]
    if spatial_dims == 2:
        steps.append(ScaleIntensityRanged(key, 0.0, 255.0, 0.0, 1.0, clip=True))
    elif intensity_range is not None:
        steps.append(ScaleIntensityRanged(key, *intensity_range, 0.0, 1.0, clip=True))
    else:
        steps.append(ScaleIntensityd(key))
    keys = [key] if mask_key is None else [key, mask_key]
    if mask_key is not None:
        steps.insert(1, ReadMaskd(mask_key, mask_values, pixel_limit))
    if spacing is not None:
        steps.append(_Respaced(keys, _spacing(spacing, spatial_dims), mode=["bilinear", "nearest"][: len(keys)]))
    if crop is not None:
        steps.append(CenterSpatialCropd(keys, _sizes(crop, spatial_dims)))
    if size is not None:
        steps.append(_ToldResize(keys, _sizes(size, spatial_dims), mode=["area", "nearest"][: len(keys)]))
    return _NamingCompose([*steps, _LabelVector()])


class _LabelVector(Transform):
    """Convert a list of labels to a tensor; loaders collate lists to a list of columns."""

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        label = data.get("label")
        return {**data, "label": torch.tensor(label, dtype=torch.float32)} if isinstance(label, list) else data


class _Respaced(Spacingd):
    """Spacingd that raises an error without meta data; Spacingd itself would assume a spacing of 1 mm."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        if not get_track_meta():
            raise ConfigurationError(
                "spacing needs MONAI's metadata, which are switched off. Call set_track_meta(True)."
            )
        respaced: dict[Hashable, Any] = super().__call__(data, lazy)
        return respaced


class _ToldResize(Resized):
    """Resized that logs once that images are resized."""

    told = False

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        resized: dict[Hashable, Any] = super().__call__(data, lazy)
        for key in self.key_iterator(resized):
            before, after = tuple(data[key].shape[1:]), tuple(resized[key].shape[1:])
            if before != after and not self.told:
                self.told = True
                if Ranks().index == 0:
                    sizes = (" x ".join(map(str, shape)) for shape in (before, after))
                    logger.info("Images are resized, the first one from %s to %s (image_size).", *sizes)
        return resized


def _spacing(spacing: float | Sequence[float], spatial_dims: int) -> list[float]:
    values = [float(spacing)] * 3 if isinstance(spacing, int | float) else [float(value) for value in spacing]
    if spatial_dims != 3 or len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise ConfigurationError(
            f"spacing must be one or three numbers above 0, in millimeters, for volumes; got {spacing!r} for "
            f"{spatial_dims} dimensions."
        )
    return values


def _sizes(size: int | Sequence[int], spatial_dims: int) -> list[int]:
    sizes: list[Any] = list(size) if isinstance(size, list | tuple) else [size] * spatial_dims
    if len(sizes) != spatial_dims or not all(isinstance(side, int) and side > 0 for side in sizes):
        raise ConfigurationError(f"crop and size must be one or {spatial_dims} numbers of at least 1, got {size!r}.")
    return sizes
