# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands in a folder, without what operating systems leave there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import Fault, OnFault
from monai_gmcl.data.file_faults import is_dicom

__all__ = ["IMAGE_SUFFIXES", "Item", "folder_entries", "folder_files", "foreign_fault", "is_image", "is_litter"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz")

Item = dict[str, Any]
"""``image``: path; ``label``: class index or list of floats; ``group``, where known: patient or slide."""

LITTER = {
    "thumbs.db",
    "thumbs.db:encryptable",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "autorun.inf",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "icon\r",
    "network trash folder",
    "temporary items",
    "lost+found",
    "@eadir",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    "__pycache__",
}
"""Names, in small letters, that operating systems and network drives leave in folders."""


def is_litter(name: str) -> bool:
    """Whether an operating system left a file or folder of this name: hidden ones, ``Thumbs.db``, ``__MACOSX``, ..."""
    return name.startswith((".", "~$")) or name.lower() in LITTER


def is_image(path: Path) -> bool:
    """Whether the file's name ends like an image that can be read."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def folder_entries(folder: Path, on_fault: OnFault) -> list[Path]:
    """What stands in a folder, sorted, without what operating systems left there."""
    try:
        return sorted(path for path in folder.iterdir() if not is_litter(path.name))
    except OSError as error:
        on_fault(Fault("missing", str(folder), "a folder that can be read", f"a locked one ({error.strerror})"))
        return []


def folder_files(folder: Path, on_fault: OnFault) -> Iterator[Path]:
    """Every file of a folder and of the folders in it, by path, without what operating systems left there.

    A folder that is named like an image counts as a file: reading it is the error that names it. A folder that a link
    leads back to is looked at once.
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
    """Tell of a file that is no image: DICOM by its name, with what converts it."""
    if is_dicom(path):
        return Fault("dicom", str(path), f"PNG, JPEG, TIFF or NIfTI {where}", f"DICOM ({path.name!r})")
    return Fault("not_an_image", str(path), f"only images ({', '.join(IMAGE_SUFFIXES)}) {where}", f"{str(path.name)!r}")
