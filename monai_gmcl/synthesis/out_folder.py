# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a set of synthetic images, and whether it may be written to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.exceptions import DataError

RECORD = "synthesis.json"
"""What the set is made from. Written first: a folder with it is ours."""
CARD = "README.md"
"""Written last: a folder with it is finished."""
IMAGES = "images"
"""Folder of the images, one folder a class, or all of those with masks."""
LABELS = "labels"
"""Folder of the masks, where there are any."""
DATALIST = "datalist.json"
"""The images and labels, for a MONAI loader."""
MANIFEST = "manifest.csv"
"""A line for each image: what it was made from."""
CONTACT_SHEET = "contact_sheet.png"
"""A few images of each class, in one picture."""
PART = ".part"


class OutFolder:
    """A folder of synthetic images: begun, gone on with after a run that was cut off, or begun anew.

    Args:
        path: of the folder; made by :meth:`begin` if there is none.
        overwrite: whether a set of synthetic images that stands there gives way.

    Raises:
        DataError: a file, something else than synthetic images, or a finished set that must not be overwritten.
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
        """Make the folder, or take up what was begun with the same record.

        Raises:
            DataError: a set that was begun with another record and must not be overwritten.
        """
        content = json.dumps(record, indent=2, sort_keys=True) + "\n"
        file = self.path / RECORD
        if self.overwrite and file.exists():
            # the card first and the record last: whatever is left in between is an unfinished set of before
            for name in (CARD, CONTACT_SHEET, MANIFEST, DATALIST, LABELS, IMAGES, RECORD):
                _remove(self.path / name)
        if file.exists():
            _check_same(file, json.loads(content))
        else:
            write_atomically(file, content.encode())

    @property
    def begun(self) -> bool:
        """Whether there is a set, or the beginning of one."""
        return self.has(RECORD)

    def has(self, name: str) -> bool:
        """Whether a file stands there, whole."""
        return (self.path / name).is_file()

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file atomically."""
        write_atomically(self.path / name, content)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file beside its place, then move it there; folders are made."""
    make_folder(path.parent)
    # always the same name: a run that goes on leaves nothing of one that was cut off
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
