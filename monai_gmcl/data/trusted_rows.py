# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of tables and lists that say that their label is sure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import Fault, OnFault

__all__ = ["is_trusted", "no_trusted"]

YES = ("1", "1.0", "true", "yes")
NO = ("", "0", "0.0", "false", "no", "none")


def is_trusted(written: Any, part: str, path: Path, number: int, on_fault: OnFault) -> bool:
    """Return whether a row says that its label is sure.

    Args:
        written: in the column ``trusted``: yes, true or 1; no, false, 0 or nothing; in small or capital letters.
        part: of the row; images of validation and test cannot be trusted ones, too.
        path: of the table or list.
        number: of the row.
        on_fault: called where something else is written, or where a row of another part than training says yes.
    """
    text = str(written).strip().casefold()
    if text not in (*YES, *NO):
        on_fault(Fault("row", str(path), "yes or no, true or false, 1 or 0 as 'trusted'", repr(written), number))
    if text in YES and part != "training":
        wanted = "trusted images in the part training: those of validation and test are measured with"
        on_fault(Fault("row", str(path), wanted, f"a trusted one in {part}", number))
        return False
    return text in YES


def no_trusted(path: Path) -> Fault:
    """Return the warning that no row is trusted though there is a column for it."""
    return Fault("unread_column", str(path), "an image with yes in 'trusted'", "no only")
