# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The output folder of a synthetic data set, with checks before writing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.exceptions import DataError

__all__ = [
    "CARD",
    "CONTACT_SHEET",
    "DATALIST",
    "IMAGES",
    "LABELS",
    "MANIFEST",
    "RECORD",
    "OutFolder",
    "write_atomically",
]

RECORD = "synthesis.json"
"""File with the arguments of the set. It is written first, and marks the folder as a synthetic data set."""
CARD = "README.md"
"""The data card. It is written last, and marks the set as finished."""
IMAGES = "images"
"""Folder of the images, with one folder for each class, or without class folders for images with masks."""
LABELS = "labels"
"""Folder of the masks, if there are masks."""
DATALIST = "datalist.json"
"""The images and labels, for a MONAI loader."""
MANIFEST = "manifest.csv"
"""Table of the inputs of each image."""
CONTACT_SHEET = "contact_sheet.png"
"""Picture with a few images of each class."""
PART = ".part"


class OutFolder:
    """The output folder of a synthetic data set: new, continued after an interruption, or overwritten.

    Args:
        path: path of the folder; :meth:`begin` creates it if it does not exist.
        overwrite: whether to replace an existing synthetic data set.

    Raises:
        DataError: the path is a file, or a folder with other content, or with a finished set and ``overwrite`` is
            False.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        self.path, self.overwrite = path, overwrite
        if path.exists() and not path.is_dir():
            raise DataError(f"Expected a folder for the images, found the file {str(path)!r}.")
        found = [entry.name for entry in path.iterdir() if not entry.name.endswith(PART)] if path.exists() else []
        if found and RECORD not in found:
            raise DataError(
                f"Expected a new or empty folder, or a folder of synthesize, found {sorted(found)[0]!r} in "
                f"{str(path)!r}. Use another folder."
            )
        if CARD in found and not overwrite:
            raise DataError(f"{str(path)!r} has a finished set of images. Use another folder, or --overwrite.")

    def begin(self, record: Mapping[str, Any]) -> None:
        """Create the folder, or continue an unfinished set with the same record.

        Raises:
            DataError: an unfinished set has another record, and ``overwrite`` is False.
        """
        content = json.dumps(record, indent=2, sort_keys=True) + "\n"
        file = self.path / RECORD
        if self.overwrite and file.exists():
            # the card is removed first and the record last, so that an interruption leaves an unfinished set
            for name in (CARD, CONTACT_SHEET, MANIFEST, DATALIST, LABELS, IMAGES, RECORD):
                _remove(self.path / name)
        if file.exists():
            _check_same(file, json.loads(content))
        else:
            write_atomically(file, content.encode())

    @property
    def begun(self) -> bool:
        """Whether the folder has a finished or unfinished set."""
        return self.has(RECORD)

    def has(self, name: str) -> bool:
        """Whether a complete file exists."""
        return (self.path / name).is_file()

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file atomically."""
        write_atomically(self.path / name, content)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file atomically (to a temporary file, which is then moved), and create its folders."""
    make_folder(path.parent)
    # always the same name, so that a continued run removes the temporary files of an interrupted one
    write_whole(path, content, beside=path.with_name(f".{path.name}{PART}"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_same(file: Path, record: Mapping[str, Any]) -> None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"Expected the record of a set in {str(file)!r}, found invalid JSON: {error}.") from error
    if found != record:
        other = [key for key in record if not isinstance(found, dict) or found.get(key) != record[key]]
        told = "; ".join(
            f"{key} was {found.get(key)!r}, now {record[key]!r}" for key in other if isinstance(found, dict)
        )
        raise DataError(
            f"{str(file.parent)!r} has an unfinished set with other arguments ({told or 'another record'}). Use the "
            "same arguments, another folder, or --overwrite."
        )
