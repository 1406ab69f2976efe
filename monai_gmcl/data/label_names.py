# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of classes, patients and slides, independent of how they are written, and the same in all splits."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_gmcl.data.faults import Fault, OnFault
from monai_gmcl.data.listing import Item

__all__ = [
    "Entry",
    "class_name",
    "group_name",
    "joined_names",
    "match_name",
    "multi_label",
    "name_parts",
    "one_spelling",
    "sorted_names",
]

LONGEST_NUMBER = 18
SHOWN = 3
"""Largest number of names with several spellings in a message."""
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


class Entry(NamedTuple):
    """An image as it is written in a folder, table or list.

    Attributes:
        item: path, label (class name, or list of 0 and 1) and group, as written.
        row: row of the table or list; None in folders.
    """

    item: Item
    row: int | None = None


def name_parts(
    parts: Mapping[str, Sequence[Entry]], class_names: Sequence[str] | None, source: Path, on_fault: OnFault
) -> tuple[dict[str, list[Item]], list[str]]:
    """Number the classes, and use one name for each class, patient and slide in all splits.

    Return the items of each split without faulty items, and the class names: the given names in the order of their
    labels, or the sorted names of the first split; names that are numbers come first and are sorted by value.
    """
    entries = [entry for part in parts.values() for entry in part]
    labels = [entry.item["label"] for entry in entries]
    kind = _kind(labels[0]) if labels else ""
    classes = one_spelling([str(label) for label in labels if not isinstance(label, list)], "class", source, on_fault)
    groups = one_spelling(
        [entry.item["group"] for entry in entries if "group" in entry.item], "patient or slide", source, on_fault
    )
    first = next(iter(parts.values()), [])
    if class_names is not None:
        names = list(map(str, class_names))
    elif labels and isinstance(labels[0], list):
        names = [str(k) for k in range(len(labels[0]))]
    else:
        names = sorted_names(classes[str(item["label"])] for item, _ in first if _kind(item["label"]) == kind)
    named: dict[str, list[Item]] = {}
    for part, listed in parts.items():
        named[part] = []
        for item, row in listed:
            label = item["label"]
            found = label if isinstance(label, list) else match_name(classes[str(label)], names)
            if _kind(label) != kind:
                on_fault(Fault("label", str(source), f"{kind}, as in earlier rows,", repr(label), row))
            elif found is None and row is not None:
                wanted = f"one of the classes {', '.join(names)}"
                on_fault(Fault("label", str(source), wanted, repr(classes[str(label)]), row))
            elif found is not None:
                group = {"group": groups[item["group"]]} if "group" in item else {}
                number = found if isinstance(found, list) else names.index(found)
                named[part].append({"image": item["image"], "label": number, **group})
    return named, names


def one_spelling(written: Sequence[str], what: str, source: Path, on_fault: OnFault) -> dict[str, str]:
    """Return one name for each spelling (:func:`joined_names`), and report names with several spellings."""
    names, joined = joined_names(written)
    if joined:
        found = ", ".join(" and ".join(map(repr, ways)) for ways in joined[:SHOWN])
        found += f", {len(joined) - SHOWN} more" if len(joined) > SHOWN else ""
        on_fault(Fault("joined", str(source), f"one spelling of each {what}", found))
    return names


def _kind(label: Any) -> str:
    if isinstance(label, list):
        return f"{len(label)} labels of 0 or 1"
    return "true or false" if isinstance(label, bool) else "one class"
