# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of classes, patients and slides, independent of how they are written."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["class_name", "group_name", "joined_names", "match_name", "multi_label", "sorted_names"]

LONGEST_NUMBER = 18
WHOLE = re.compile(r"([+-]?)(\d+)(\.0*)?")
"""An integer in a table: ``1``, ``01``, ``1.0``."""


def class_name(label: Any, class_names: Sequence[str] | None = None) -> str | None:
    """Return the name of a class without surrounding blanks, or None if it cannot be a class.

    Negative numbers, fractions, NaN and infinity are not accepted, unless they are in ``class_names``.
    """
    if not isinstance(label, str | int | float):
        return None
    name = str(label).strip()
    if not name or name in map(str, class_names or []):
        return name or None
    try:
        number = float(name)
    except ValueError:
        return name
    return name if math.isfinite(number) and number >= 0 and number == int(number) else None


def group_name(group: Any) -> str | None:
    """Return the name of a patient or slide without surrounding blanks, or None if it is missing (empty, NaN)."""
    name = str(group).strip() if isinstance(group, str | int | float) else ""
    return None if name.lower() in ("", "nan") else name


def joined_names(written: Iterable[str]) -> tuple[dict[str, str], list[list[str]]]:
    """Return one name for each spelling, and the spellings that have a common name.

    The same rule is used for classes, patients and slides. Spellings of one integer are equal (``7``, ``07``, ``7.0``;
    tables with missing values write integers as floats), and ``True`` equals ``TRUE``. Surrounding and repeated blanks
    and the Unicode form of accents are ignored. Otherwise, upper and lower case differ.
    """
    ways: dict[str, list[str]] = {}
    for way in dict.fromkeys(written):
        ways.setdefault(_key(way), []).append(way)
    names = {}
    for key, alike in ways.items():
        # leading zeros are kept if all spellings have them
        spelled = {key if "." in way else _spelled(way) for way in alike}
        name = spelled.pop() if len(spelled) == 1 else key
        names.update(dict.fromkeys(alike, name))
    return names, [alike for alike in ways.values() if len(alike) > 1]


def match_name(way: str, names: Sequence[str] | Mapping[str, Any]) -> str | None:
    """Return the name that a spelling matches, or None."""
    if way in names:
        return way
    return next((name for name in names if _key(name) == _key(way)), None)


def multi_label(values: Sequence[Any]) -> list[float] | None:
    """Return labels of a multi-label task as numbers, or None if not all of them are 0 or 1."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers and all(number in (0.0, 1.0) for number in numbers) else None


def sorted_names(names: Iterable[Any]) -> list[str]:
    """Return the distinct names in the order of their labels: numbers first, sorted by value, then other names."""
    return sorted({str(name) for name in names}, key=_order)


def _order(name: str) -> tuple[int, int, str]:
    number = name.isdecimal() and len(name) <= LONGEST_NUMBER
    return (0, int(name), name) if number else (1, 0, name)


def _spelled(way: str) -> str:
    return " ".join(unicodedata.normalize("NFC", way).split())


def _key(way: str) -> str:
    """Return a key that is equal for all spellings of one name."""
    name = _spelled(way)
    whole = WHOLE.fullmatch(name)
    if whole is not None and len(whole[2]) <= LONGEST_NUMBER:
        number = int(whole[2])
        return f"-{number}" if number and whole[1] == "-" else str(number)
    return name.lower() if name.lower() in ("true", "false") else name
