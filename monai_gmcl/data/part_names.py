# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The split of a data set by names of folders, lists and tables; rows that are marked as trusted."""

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
"""Splits of a data set, by their names in folders, lists and tables."""
ENDINGS = ("dataset", "images", "split", "data", "set")
YES = ("1", "1.0", "true", "yes")
NO = ("", "0", "0.0", "false", "no", "none")


def part_name(name: str) -> str | None:
    """Return the split that a name such as ``Train``, ``val`` or ``Test_set`` denotes, ignoring case, or None."""
    letters = "".join(letter for letter in name.casefold() if letter.isalnum())
    for ending in ENDINGS:
        letters = letters.removesuffix(ending)
    return next((part for part, names in PARTS.items() if letters in names), None)


def is_trusted(written: Any, part: str, path: Path, number: int, on_fault: OnFault) -> bool:
    """Return whether a row of a table or list is marked as trusted in its column ``trusted``.

    Accepted values are yes, true, 1, no, false, 0 and empty, ignoring case. Other values are faults. A trusted row in
    the validation or test images is a fault, too, because these images are used for evaluation.
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
    """Return the warning that the column ``trusted`` exists, but no row is marked as trusted."""
    return Fault("unread_column", str(path), "at least one yes in the column 'trusted'", "no in every row")
