# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands in a folder, without what operating systems leave there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai_gmcl.data.dicom_series import is_series
from monai_gmcl.data.faults import Fault, OnFault
from monai_gmcl.data.file_faults import is_dicom
from monai_gmcl.data.litter import is_litter

__all__ = ["IMAGE_SUFFIXES", "Item", "folder_entries", "folder_files", "foreign_fault", "is_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz")

Item = dict[str, Any]
"""``image``: path; ``label``: class index or list of floats; ``group``, where known: patient or slide."""


def is_image(path: Path) -> bool:
    """Whether the file's name ends like an image that can be read, or a folder is a DICOM series."""
    return path.name.lower().endswith(IMAGE_SUFFIXES) or is_series(path)


def folder_entries(folder: Path, on_fault: OnFault) -> list[Path]:
    """What stands in a folder, sorted, without what operating systems left there."""
    try:
        return sorted(path for path in folder.iterdir() if not is_litter(path.name))
    except OSError as error:
        on_fault(Fault("missing", str(folder), "a folder that can be read", f"none ({error.strerror})"))
        return []


def folder_files(folder: Path, on_fault: OnFault) -> Iterator[Path]:
    """Every file of a folder and of the folders in it, by path, without what operating systems left there.

    A DICOM series counts as a file, and so does a folder that is named like an image: reading it is the error that
    names it. A folder that a link leads back to is looked at once.
    """
    yield from sorted(_files(folder, on_fault, set()))


def _files(folder: Path, on_fault: OnFault, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in folder_entries(folder, on_fault):
        if path.is_dir() and not is_image(path):
            yield from _files(path, on_fault, seen)
        else:
            yield path


def foreign_fault(path: Path, where: str) -> Fault:
    """Tell of a file that is no image: single DICOM files by their name, with what reads or converts them."""
    if is_dicom(path):
        return Fault("dicom", str(path), f"PNG, JPEG, TIFF or NIfTI {where}", f"DICOM ({path.name!r})")
    return Fault("not_an_image", str(path), f"only images ({', '.join(IMAGE_SUFFIXES)}) {where}", f"{str(path.name)!r}")
