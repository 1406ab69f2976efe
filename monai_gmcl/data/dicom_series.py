# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of DICOM slices as volumes, read by MONAI's PydicomReader if pydicom is installed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.data.image_reader import PydicomReader

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.file_faults import is_dicom, is_litter, sides

__all__ = ["is_series", "read_series"]

NIBABEL: Any = nibabel
UNEVEN = 0.01
"""Accepted deviation of the distance of two slices, as a fraction of the usual distance."""


def is_series(path: str | os.PathLike[str]) -> bool:
    """Whether a folder contains at least two DICOM files and no other files, and pydicom is installed."""
    if not os.path.isdir(path) or find_spec("pydicom") is None:
        return False
    slices = _slices(path)
    return len(slices) > 1 and all(map(is_dicom, slices))


def read_series(path: str | os.PathLike[str], limit: int | None = None) -> Any | Fault:
    """Read the series in a folder for which :func:`is_series` is true, or report what is wrong with it.

    The result is a ``nibabel.Nifti1Image`` ``(W, H, D)`` of float32 with at most ``limit`` voxels. Values are scaled by
    ``RescaleSlope`` and ``RescaleIntercept``; the affine is in millimeters (RAS).
    """
    import pydicom

    files = _slices(path)
    slices = [pydicom.dcmread(file) for file in files]
    unfit = _series_fault(slices, str(path), limit)
    if unfit is not None:
        return unfit
    reader: Any = PydicomReader()
    # The same steps as in reader.read, which would silently skip unreadable files.
    reader.has_series, reader.filenames = True, [files]
    array, meta = reader.get_data(slices)
    return NIBABEL.Nifti1Image(np.asarray(array, dtype=np.float32), meta["affine"])


def _slices(path: str | os.PathLike[str]) -> list[str]:
    try:
        return sorted(str(file) for file in Path(path).iterdir() if not is_litter(file.name))
    except OSError:
        return []  # an unreadable folder is reported when its files are listed


def _series_fault(slices: list[Any], path: str, limit: int | None) -> Fault | None:
    def all_of(name: str) -> set[str]:
        return {str(getattr(one, name, "none")) for one in slices}

    if len(all_of("SeriesInstanceUID")) > 1:
        return Fault("series", path, "one series in a folder", f"{len(all_of('SeriesInstanceUID'))}")
    for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
        if len(all_of(name)) > 1 or "none" in all_of(name):
            return Fault("series", path, f"one {name} in all slices", ", ".join(sorted(all_of(name))))
    if all_of("SamplesPerPixel") != {"1"} or not all_of("NumberOfFrames") <= {"none", "1"}:
        return Fault("pixel_type", path, "gray slices of one frame", "color images or several frames")
    shape = (int(slices[0].Columns), int(slices[0].Rows), len(slices))
    if limit is not None and not 0 < int(np.prod(shape, dtype=object)) <= limit:
        return Fault("pixel_limit", path, f"1 to {limit:,} voxels", sides(shape))
    return _order_fault(slices, path)


def _order_fault(slices: list[Any], path: str) -> Fault | None:
    """Report a fault if slices, which the reader sorts by InstanceNumber, are not equidistant."""
    numbers = {getattr(one, "InstanceNumber", None) for one in slices}
    if None in numbers or len(numbers) < len(slices):
        return Fault(
            "series", path, "a different InstanceNumber in each slice", "slices with no or the same InstanceNumber"
        )
    ordered = sorted(slices, key=lambda one: int(one.InstanceNumber))
    if not all(hasattr(one, "ImagePositionPatient") for one in ordered):
        return Fault("series", path, "an ImagePositionPatient in each slice", "slices without it")
    positions = np.array([one.ImagePositionPatient for one in ordered], dtype=float)
    steps = np.diff(positions, axis=0)
    usual = np.median(steps, axis=0)
    if np.linalg.norm(usual) == 0 or np.abs(steps - usual).max() > UNEVEN * np.linalg.norm(usual) + 1e-3:
        lengths = np.linalg.norm(steps, axis=1)
        found = f"distances from {lengths.min():g} to {lengths.max():g} mm"
        return Fault("series", path, "slices at equal distances", found)
    return None
