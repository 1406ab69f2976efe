# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Which part of a data set is meant: by the names of folders, lists and tables, or by a row that says it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import Fault, OnFault

__all__ = ["PARTS", "is_trusted", "no_trusted", "part_name"]

PARTS = {
    "training": ("train", "training", "trn"),
    "validation": ("valid", "validation", "val", "validate", "validating", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
"""Parts of a data set, by the names that folders, lists and tables give them."""
ENDINGS = ("dataset", "images", "split", "data", "set")
YES = ("1", "1.0", "true", "yes")
NO = ("", "0", "0.0", "false", "no", "none")


def part_name(name: str) -> str | None:
    """Return which part is meant by a name, in small or capital letters, or None: ``Train``, ``val``, ``Test_set``."""
    letters = "".join(letter for letter in name.casefold() if letter.isalnum())
    for ending in ENDINGS:
        letters = letters.removesuffix(ending)
    return next((part for part, names in PARTS.items() if letters in names), None)


def is_trusted(written: Any, part: str, path: Path, number: int, on_fault: OnFault) -> bool:
    """Return whether a row of a table or list says in its column ``trusted`` that its label is sure.

    Yes, true or 1; no, false, 0 or nothing; in small or capital letters. Something else is a fault, and so is yes in
    another part than training: images of validation and test are measured with.
    """
    text = str(written).strip().casefold()
    if text not in (*YES, *NO):
        on_fault(
            Fault("row", str(path), "yes or no, true or false, 1 or 0 in the column 'trusted'", repr(written), number)
        )
    if text in YES and part != "training":
        wanted = "trusted images only in the part training, because validation and test are used for measuring,"
        on_fault(Fault("row", str(path), wanted, f"a trusted image in {part}", number))
        return False
    return text in YES


def no_trusted(path: Path) -> Fault:
    """Return the warning that no row is trusted though there is a column for it."""
    return Fault("unread_column", str(path), "at least one yes in the column 'trusted'", "no in every row")
