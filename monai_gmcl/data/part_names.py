# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a user's data, in words: one vocabulary for the readers' errors and the data check's table."""

from __future__ import annotations

__all__ = ["PARTS", "part_name"]

PARTS = {
    "training": ("train", "training", "trn"),
    "validation": ("valid", "validation", "val", "validate", "validating", "dev", "development"),
    "test": ("test", "testing", "tst"),
}
"""Parts of a data set, by the names that folders, lists and tables give them."""
ENDINGS = ("dataset", "images", "split", "data", "set")


def part_name(name: str) -> str | None:
    """Return which part is meant by a name, in small or capital letters, or None: ``Train``, ``val``, ``Test_set``."""
    letters = "".join(letter for letter in name.casefold() if letter.isalnum())
    for ending in ENDINGS:
        letters = letters.removesuffix(ending)
    return next((part for part, names in PARTS.items() if letters in names), None)
