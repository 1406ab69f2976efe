# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.data.image_reader import NibabelReader, PILReader
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import CenterSpatialCropd
from monai.transforms.intensity.dictionary import ScaleIntensityd, ScaleIntensityRanged
from monai.transforms.io.array import LoadImage
from monai.transforms.spatial.dictionary import Resized
from monai.transforms.transform import MapTransform
from PIL import Image, ImageOps

from monai_gmcl.exceptions import ConfigurationError, DataError

__all__ = ["ReadImaged", "image_transforms"]


class ReadImaged(MapTransform):
    """Read an image as float ``(C, H, W)``, as a person sees it, or a volume as ``(C, D, H, W)``.

    PNG, JPEG and TIFF come out from 0 to 255, upright where the file says how it was held (EXIF). Images of 16 bits are
    scaled to that range; grey ones keep their depth. NIfTI comes out as stored.

    Args:
        keys: of the paths.
        spatial_dims: 2 for Pillow's formats, 3 for NIfTI.
        channels: 1 (grey) or 3 (RGB) for Pillow's formats; converted where the file differs.

    Raises:
        ConfigurationError: other dims or channels.
        DataError: naming the file that cannot be read.
    """

    def __init__(self, keys: KeysCollection, spatial_dims: int = 2, channels: int = 3) -> None:
        super().__init__(keys)
        if spatial_dims not in (2, 3) or (spatial_dims == 2 and channels not in (1, 3)):
            raise ConfigurationError(
                f"Expected spatial_dims 2 with 1 or 3 channels, or spatial_dims 3, got {spatial_dims} and {channels}."
            )
        self.spatial_dims = spatial_dims
        self.channels = channels
        reader = NibabelReader() if spatial_dims == 3 else PILReader(converter=self._converted, reverse_indexing=False)
        self.load = LoadImage(reader=reader, ensure_channel_first=True, dtype=np.float32)

    def _converted(self, image: Image.Image) -> Image.Image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            # Pillow's own conversion of 16-bit images clips at 255.
            image = Image.fromarray(np.asarray(image, dtype=np.float32) / 257.0)
            return image if self.channels == 1 else image.convert("RGB")
        return image.convert("L" if self.channels == 1 else "RGB")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        read = dict(data)
        for key in self.key_iterator(read):
            path = read[key]
            try:
                if self.spatial_dims == 2:
                    _check_depth(path)
                image = self.load(path)
            except Exception as error:
                kind = "NIfTI volume" if self.spatial_dims == 3 else "PNG, JPEG or TIFF image"
                raise DataError(f"Expected a readable {kind} in {str(path)!r}: {error}.") from error
            if image.ndim != self.spatial_dims + 1 or image.shape[0] != self.channels:
                raise DataError(
                    f"Expected {self.channels} channels and {self.spatial_dims} dimensions in {str(path)!r}, "
                    f"found shape {tuple(image.shape)}."
                )
            read[key] = image
        return read


def _check_depth(path: Any) -> None:
    # Not in the reader: MONAI's LoadImage would go on to another reader, which clips or turns the image.
    with Image.open(path) as image:
        if image.mode == "F":
            raise DataError("8 or 16 bits are accepted, found floating point")
        if image.mode == "I":
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise DataError("8 or 16 bits are accepted, found 32")


class _NamingCompose(Compose):
    """Compose whose last word on a bad file is the error that names it, not MONAI's "applying transform"."""

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
) -> Compose:
    """Return the transforms that read an image to float ``(C, ...)`` with values from 0 to 1.

    Args:
        spatial_dims: 2 for PNG, JPEG, TIFF; 3 for NIfTI.
        channels: 1 or 3 for 2-D images; the volume's for 3-D.
        crop: centre to keep, in pixels.
        size: to resize to after the crop (area interpolation).
        intensity_range: of NIfTI volumes, mapped to 0..1 and clipped. Default: each volume's own least and most.
        key: of the path, then of the image.

    Raises:
        ConfigurationError: other dims or channels.
        DataError: when called, naming the file that cannot be read. (Inside another Compose, MONAI wraps it in a
            RuntimeError whose cause it is.)
    """
    steps: list[Any] = [ReadImaged(key, spatial_dims, channels)]
    if spatial_dims == 2:
        steps.append(ScaleIntensityRanged(key, 0.0, 255.0, 0.0, 1.0, clip=True))
    elif intensity_range is not None:
        steps.append(ScaleIntensityRanged(key, *intensity_range, 0.0, 1.0, clip=True))
    else:
        steps.append(ScaleIntensityd(key))
    if crop is not None:
        steps.append(CenterSpatialCropd(key, _sizes(crop, spatial_dims)))
    if size is not None:
        steps.append(Resized(key, _sizes(size, spatial_dims), mode="area"))
    return _NamingCompose(steps)


def _sizes(size: int | Sequence[int], spatial_dims: int) -> list[int]:
    return [size] * spatial_dims if isinstance(size, int) else list(size)
