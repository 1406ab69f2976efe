# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Listing of folders without files of operating systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai_gmcl.data.dicom_series import is_series
from monai_gmcl.data.faults import Fault, OnFault
from monai_gmcl.data.file_faults import is_dicom, is_litter

__all__ = ["IMAGE_SUFFIXES", "Item", "folder_entries", "folder_files", "foreign_fault", "is_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz")

Item = dict[str, Any]
"""``image``: path; ``label``: class index or list of floats; ``group``, if known: patient or slide."""


def is_image(path: Path) -> bool:
    """Whether a path is a file with the suffix of a supported image format, or a folder with a DICOM series."""
    return path.name.lower().endswith(IMAGE_SUFFIXES) or is_series(path)


def folder_entries(folder: Path, on_fault: OnFault) -> list[Path]:
    """Return the sorted entries of a folder, without files of operating systems."""
    try:
        return sorted(path for path in folder.iterdir() if not is_litter(path.name))
    except OSError as error:
        on_fault(Fault("missing", str(folder), "a folder that can be read", f"none ({error.strerror})"))
        return []


def folder_files(folder: Path, on_fault: OnFault) -> Iterator[Path]:
    """Return all files of a folder and its subfolders, sorted by path, without files of operating systems.

    A DICOM series is returned as one file. A folder that is named like an image is also returned as a file, so that
    reading it raises an error with its name. Folders that symbolic links lead to repeatedly are listed once.
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
    """Report a file that is not an image; for single DICOM files, name packages that read or convert them."""
    if is_dicom(path):
        return Fault("dicom", str(path), f"PNG, JPEG, TIFF or NIfTI {where}", f"DICOM ({path.name!r})")
    return Fault("not_an_image", str(path), f"only images ({', '.join(IMAGE_SUFFIXES)}) {where}", f"{str(path.name)!r}")
