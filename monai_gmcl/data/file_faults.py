# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of files that are found before or during decoding, and files of operating systems."""

from __future__ import annotations

import os
from pathlib import Path

from monai_gmcl.data.faults import Fault

__all__ = ["decoding_fault", "file_fault", "is_dicom", "is_litter", "sides", "unknown_fault"]


def file_fault(path: str | os.PathLike[str], expected: str) -> Fault | None:
    """Check a file without opening it, because reading a pipe or a device would never end."""
    file = Path(path)
    try:
        if not os.path.lexists(file):
            return Fault("missing", str(path), expected, "no file")
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "no regular file" if file.exists() else "a broken link"
            return Fault("not_an_image", str(path), expected, kind)
        if file.stat().st_size == 0:
            return Fault("empty_file", str(path), expected, "an empty file")
    except (OSError, ValueError) as error:
        return Fault("missing", str(path), expected, f"a path that cannot be opened ({_one_line(error)})")
    return None


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a DICOM file, by its first bytes or, for an empty file, by its name."""
    try:
        with open(path, "rb") as file:
            if file.read(132)[128:] == b"DICM":
                return True
    except (OSError, ValueError):
        return False
    return Path(path).suffix.lower() in (".dcm", ".dicom", ".ima")


def unknown_fault(path: str | os.PathLike[str], expected: str) -> Fault:
    """Report a file whose first bytes belong to no supported format."""
    if is_dicom(path):
        return Fault("dicom", str(path), expected, "DICOM")
    return Fault("not_an_image", str(path), expected, "an unknown format")


def decoding_fault(path: str | os.PathLike[str], expected: str, error: Exception) -> Fault:
    told = _one_line(error)
    cut = isinstance(error, EOFError) or any(word in told.lower() for word in ("truncated", "end of file", "end-of-st"))
    return Fault("truncated" if cut else "unreadable", str(path), expected, f"a damaged file ({told})")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def sides(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{side:,}" for side in shape)


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
"""Names of files and folders of operating systems and network drives, in lower case."""


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name belongs to an operating system: hidden files, ``Thumbs.db`` and others."""
    return name.startswith((".", "~$")) or name.lower() in LITTER
