# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of classes, patients and slides, however they are written."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["class_name", "group_name", "joined_names", "match_name", "multi_label", "sorted_names"]

LONGEST_NUMBER = 18
WHOLE = re.compile(r"([+-]?)(\d+)(\.0*)?")
"""A whole number as tables write it: ``1``, ``01``, ``1.0``."""


def class_name(label: Any, class_names: Sequence[str] | None = None) -> str | None:
    """Return the name of a class without the blanks around it, or None where it can be no class.

    Negative numbers, fractions, NaN and infinity are labels gone wrong, unless they stand in ``class_names``.
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
    """Return the name of a patient or slide without the blanks around it, or None where there is none (empty, NaN)."""
    name = str(group).strip() if isinstance(group, str | int | float) else ""
    return None if name.lower() in ("", "nan") else name


def joined_names(written: Iterable[str]) -> tuple[dict[str, str], list[list[str]]]:
    """Give what is written in several ways one name: the rule for classes, patients and slides alike.

    A whole number is the same however it is written (``7``, ``07``, ``7.0``: tables with gaps write whole numbers so),
    ``True`` is ``TRUE``, and neither blanks around or doubled nor the way in which an accent is stored make a
    difference. Small and capital letters do.

    Returns:
        The name of each way of writing, and the ways that came to share one.
    """
    ways: dict[str, list[str]] = {}
    for way in dict.fromkeys(written):
        ways.setdefault(_key(way), []).append(way)
    names = {}
    for key, alike in ways.items():
        # leading zeros are kept where everyone writes them
        spelled = {key if "." in way else _spelled(way) for way in alike}
        name = spelled.pop() if len(spelled) == 1 else key
        names.update(dict.fromkeys(alike, name))
    return names, [alike for alike in ways.values() if len(alike) > 1]


def match_name(way: str, names: Sequence[str] | Mapping[str, Any]) -> str | None:
    """Return which of the names is meant by what is written, or None."""
    if way in names:
        return way
    return next((name for name in names if _key(name) == _key(way)), None)


def multi_label(values: Sequence[Any]) -> list[float] | None:
    """Return labels of a multi-label task as numbers, or None where they are not all 0 or 1."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers and all(number in (0.0, 1.0) for number in numbers) else None


def sorted_names(names: Iterable[Any]) -> list[str]:
    """Return the distinct names in the order of their labels, everywhere: numbers first, as numbers, then the rest."""
    return sorted({str(name) for name in names}, key=_order)


def _order(name: str) -> tuple[int, int, str]:
    number = name.isdecimal() and len(name) <= LONGEST_NUMBER
    return (0, int(name), name) if number else (1, 0, name)


def _spelled(way: str) -> str:
    return " ".join(unicodedata.normalize("NFC", way).split())


def _key(way: str) -> str:
    """Equal for ways of writing one name."""
    name = _spelled(way)
    whole = WHOLE.fullmatch(name)
    if whole is not None and len(whole[2]) <= LONGEST_NUMBER:
        number = int(whole[2])
        return f"-{number}" if number and whole[1] == "-" else str(number)
    return name.lower() if name.lower() in ("true", "false") else name
