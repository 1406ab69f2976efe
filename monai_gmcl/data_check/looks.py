# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading a file for the check, and the properties that the check needs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from monai.utils.enums import MetaKeys
from numpy.typing import NDArray
from tqdm import tqdm

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import DEEPEST, flat_picture, is_volume, read_picture, read_volume

__all__ = ["PERCENT", "Look", "Values", "each_file", "find_twins", "look_at", "look_at_all"]

Found = TypeVar("Found")

AT_ONCE = 32
"""Number of files in one chunk of a thread."""
THREADS = 4
MODES = {
    "1": "1 bit",
    "L": "gray",
    "LA": "gray with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "RGBA": "RGB with alpha",
    "I": "16-bit gray",
}

PERCENT = (1, 5, 25, 50, 75, 95, 99)
SAMPLE = 2**18
"""Number of values of a file from which percentiles are computed."""


class Values(NamedTuple):
    """The distribution of a file's values: percentiles and possible range."""

    percentiles: tuple[float, ...]
    least: float
    most: float


@dataclass(frozen=True)
class Look:
    """The properties of a file that the check needs.

    Attributes:
        file_format: ``PNG``, ``JPEG``, ``MPO``, ``TIFF``, ``NIfTI`` or ``DICOM series``.
        pixels: kind of an image's pixels, in words.
        shape: channels (0 for images, which are converted), then height and width, or the three sides of a volume.
        digest: digest of the decoded pixels, which is equal for equal pixels in different formats and modes.
        constant: whether all pixels are equal.
        values: percentiles (:data:`PERCENT`) of the pixels, and the lowest and highest possible value of the kind of
            pixels (for volumes, the actual lowest and highest value).
        transparent: whether some pixels are not opaque.
        affine: rows of the affine of a volume in RAS orientation; empty for an image.
    """

    file_format: str
    pixels: str
    shape: tuple[int, ...]
    digest: bytes
    constant: bool
    values: Values
    transparent: bool = False
    affine: tuple[float, ...] = ()

    def twin(self, path: str) -> Hashable:
        """Return a key that is equal for identical images, or, for constant images, for the same file."""
        return path if self.constant else self.digest


def look_at(path: str, pixel_limit: int | None = None) -> Look | Fault:
    """Read a complete file as in training, and return the properties that the check needs."""
    if is_volume(path):
        return _look_at_volume(path, pixel_limit)
    image = read_picture(path, pixel_limit)
    if isinstance(image, Fault):
        return image
    shape = (0, image.height, image.width)
    mode = "I" if image.mode.startswith("I") else image.mode
    transparent = mode != "I" and image.has_transparency_data
    if transparent:
        transparent = image.convert("RGBA").getchannel("A").getextrema()[0] != 255
    if mode == "I":
        values = np.asarray(image, dtype=np.uint16)
        pixels, constant = values.tobytes(), bool(values.min() == values.max())
        used = Values(_percentiles(values), 0, DEEPEST)
    else:
        seen = image if mode == "RGB" and not transparent else flat_picture(image, 3)
        pixels = seen.tobytes()
        constant = all(low == high for low, high in seen.getextrema())  # type: ignore[misc]
        used = Values(_percentiles(np.frombuffer(pixels, dtype=np.uint8)), 0, 255)
    return Look(str(image.format), MODES.get(mode, mode), shape, _digest(shape, pixels), constant, used, transparent)


def look_at_all(
    paths: Sequence[str], pixel_limit: int | None = None, bar_after: float = 0.0
) -> dict[str, Look | Fault]:
    """Read each file once, in parallel, with a progress bar after a number of seconds."""
    return each_file(paths, lambda path: look_at(path, pixel_limit), bar_after)


def each_file(paths: Sequence[str], look: Callable[[str], Found], bar_after: float = 0.0) -> dict[str, Found]:
    """Return the result of ``look`` for each file, in parallel, with a progress bar after a number of seconds."""
    paths = list(dict.fromkeys(paths))
    pieces = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    found: dict[str, Found] = {}
    bar = tqdm(total=len(paths), desc="data check", unit="image", delay=bar_after)
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads, bar:
        for piece in threads.map(lambda piece: [(path, look(path)) for path in piece], pieces):
            found.update(piece)
            bar.update(len(piece))
    return found


def find_twins(paths: Sequence[str], pixel_limit: int | None = None) -> dict[str, Hashable]:
    """Return a key for each readable file that is equal for identical images."""
    found = look_at_all(paths, pixel_limit, bar_after=1.0)
    return {path: look.twin(path) for path, look in found.items() if isinstance(look, Look)}


def _look_at_volume(path: str, pixel_limit: int | None) -> Look | Fault:
    found = read_volume(path, pixel_limit)
    if isinstance(found, Fault):
        return found
    array, meta = found
    affine = tuple(map(float, np.asarray(meta[MetaKeys.AFFINE]).ravel()))
    channels = array.shape[-1] if array.ndim > 3 else 1
    shape = (channels, *array.shape[:3])
    used = Values(_percentiles(array), float(array.min()), float(array.max()))
    kind = "DICOM series" if os.path.isdir(path) else "NIfTI"
    digest = _digest(shape, array.tobytes())
    return Look(kind, "volume", shape, digest, used.least == used.most, used, affine=affine)


def _percentiles(values: NDArray[Any]) -> tuple[float, ...]:
    flat = values.reshape(-1)
    return tuple(map(float, np.percentile(flat[:: max(1, flat.size // SAMPLE)], PERCENT)))


def _digest(shape: tuple[int, ...], pixels: bytes) -> bytes:
    digest = hashlib.blake2b(repr(shape).encode(), digest_size=16)
    digest.update(pixels)
    return digest.digest()
