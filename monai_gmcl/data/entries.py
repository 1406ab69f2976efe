# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Consistent names of classes, patients and slides in all splits of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_gmcl.data.faults import Fault, OnFault
from monai_gmcl.data.label_names import joined_names, match_name, sorted_names
from monai_gmcl.data.listing import Item

__all__ = ["Entry", "name_parts"]

SHOWN = 3
"""Largest number of names with several spellings in a message."""


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
    classes = _joined([str(label) for label in labels if not isinstance(label, list)], "class", source, on_fault)
    groups = _joined(
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


def _joined(written: Sequence[str], what: str, source: Path, on_fault: OnFault) -> dict[str, str]:
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
