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

import os
from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np
from monai.data.image_reader import NibabelReader
from numpy.typing import NDArray

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import PIXEL_LIMITS, decoding_fault, file_fault, sides, unknown_fault

__all__ = ["read_volume", "volume_channels"]

VOLUMES = "a readable NIfTI volume"


def read_volume(
    path: str | os.PathLike[str], pixel_limit: int | None = None
) -> tuple[NDArray[np.float32], dict[str, Any]] | Fault:
    """Read a NIfTI volume, or say what is wrong with it.

    Args:
        path: of the file.
        pixel_limit: most voxels, channels included. Default: ``PIXEL_LIMITS[3]``.

    Returns:
        The numbers as stored, scaled by the file's slope, ``(D, H, W)`` or ``(D, H, W, C)``, and MONAI's meta data;
        axes of length 1 after the first three are left out.
        Axes go to the right, to the front and up (RAS), as near as turning and flipping brings them; the affine
        follows.
    """
    limit = PIXEL_LIMITS[3] if pixel_limit is None else pixel_limit
    unfit = file_fault(path, VOLUMES)
    if unfit is not None:
        return unfit
    reader = NibabelReader(as_closest_canonical=True)
    try:
        volume = reader.read(str(path))
        unfit = _header_fault(volume, str(path), limit)
        if unfit is not None:
            return unfit
        array, meta = reader.get_data(volume)
        array = np.asarray(array, dtype=np.float32)
    except nibabel.filebasedimages.ImageFileError:
        return unknown_fault(path, VOLUMES)
    except Exception as error:
        return decoding_fault(path, VOLUMES, error)
    if not np.isfinite(array).all():
        return Fault("not_finite", str(path), "numbers", "NaN or infinity")
    return array.reshape(*array.shape[:3], *_channels(array.shape)), meta


def volume_channels(path: str | os.PathLike[str]) -> int | Fault:
    """Return the channels of a volume by its header, or say what is wrong with it."""
    unfit = file_fault(path, VOLUMES)
    if unfit is not None:
        return unfit
    try:
        volume = NibabelReader().read(str(path))
        unfit = _header_fault(volume, str(path))
        return int(np.prod(_channels(volume.shape))) if unfit is None else unfit
    except nibabel.filebasedimages.ImageFileError:
        return unknown_fault(path, VOLUMES)
    except Exception as error:
        return decoding_fault(path, VOLUMES, error)


def _channels(shape: Sequence[int]) -> list[int]:
    """Axes after the first three; those of length 1 (a single point in time) say nothing."""
    return [side for side in shape[3:] if side != 1]


def _header_fault(volume: Any, path: str, limit: int | None = None) -> Fault | None:
    shape = tuple(volume.shape)
    if len(shape) < 3 or len(_channels(shape)) > 1:
        return Fault("dimensions", path, "3 dimensions, or 4 with channels (2: as PNG or TIFF),", f"shape {shape}")
    voxels = int(np.prod([max(int(side), 0) for side in shape], dtype=object))
    if limit is not None and not 0 < voxels <= limit:
        return Fault("pixel_limit", path, f"1 to {limit:,} voxels", sides(shape))
    dtype = volume.get_data_dtype()
    if dtype.kind not in "iuf":
        found = f"colors ({', '.join(dtype.names)})" if dtype.names else f"{dtype}"
        return Fault("pixel_type", path, "real numbers", found)
    return None
