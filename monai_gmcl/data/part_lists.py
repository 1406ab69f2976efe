# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The splits of a data set: their names, and the rows of a table or list by split, before labels are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.datalists import Row, table_rows
from monai_gmcl.data.faults import Fault, OnFault
from monai_gmcl.data.tables import Table, read_json, read_table

__all__ = ["LISTS", "PARTS", "is_trusted", "list_rows", "no_trusted", "part_name"]

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


LISTS = (".csv", ".tsv", ".json")
"""File suffixes of tables and lists."""
PART_COLUMNS = ("split", "part", "partition", "subset", "set", "phase")
"""Names of table columns with the split of an image."""
Rows = dict[str, list[Row]]


def list_rows(path: Path, group_column: str | None, on_fault: OnFault) -> Rows:
    """Return the rows of ``training`` and, if they exist, ``validation``, ``test`` and ``trusted``.

    The path is a CSV table, optionally with a column ``split``, or a MONAI JSON datalist. ``group_column`` (default:
    ``group``) is the column, or the key, of the patient or slide.
    """
    read = _json_rows_by_part if path.suffix.lower() == ".json" else _table_rows_by_part
    return read(path, group_column, on_fault)


def _table_rows_by_part(path: Path, group_column: str | None, on_fault: OnFault) -> Rows:
    table = read_table(path, ["image", "label", *([group_column] if group_column else [])], on_fault)
    if table is None:
        return {}
    rows = table_rows(table, group=group_column)
    column = _part_column(table, path, on_fault)
    listed: Rows = {} if rows else {"training": []}
    marks = table.column("trusted")
    for (number, row), (_, values) in zip(rows, table.rows, strict=True):
        part = part_name(values[column]) or "" if column else "training"
        trusted = marks is not None and is_trusted(values[marks], part, path, number, on_fault)
        listed.setdefault("trusted" if trusted else part, []).append((number, row))
    if marks is not None and "trusted" not in listed:
        on_fault(no_trusted(path))
    if "training" not in listed:
        wanted = f"rows of the part 'training' in the column {column!r}" if column else "images that are not trusted"
        on_fault(Fault("table", str(path), wanted, ", ".join(listed)))
        return {}
    order = [part for part in ("training", "validation", "test", "trusted") if part in listed]
    return {part: listed[part] for part in order}


def _part_column(table: Table, path: Path, on_fault: OnFault) -> str | None:
    """The column with the split of an image, if the table has one."""
    for name in (*PART_COLUMNS, "fold"):
        column = table.column(name)
        values = [row[column] for _, row in table.rows] if column else []
        if values and all(map(part_name, values)):
            return column
        if values and name in ("split", "fold"):
            wrong = next(value for value in values if part_name(value) is None)
            wanted = f"training, validation or test in the column {column!r}"
            on_fault(Fault("unread_column", str(path), wanted, repr(wrong)))
    return None


def _json_rows_by_part(path: Path, group_key: str | None, on_fault: OnFault) -> Rows:
    content = read_json(path, on_fault)
    if content is None:
        return {}
    lists: dict[str, list[str]] = {}
    for name, rows in content.items():
        part = part_name(name)
        if part is not None and part != "training" and rows and not isinstance(rows, list):
            on_fault(Fault("table", str(path), f"a list {name!r}", type(rows).__name__))
        elif part is not None and isinstance(rows, list) and (part == "training" or any(map(_labeled, rows))):
            lists.setdefault(part, []).append(name)
        elif isinstance(rows, list) and any(map(_is_image, rows)):
            on_fault(_unread(name, rows, path))
    if "training" not in lists:
        on_fault(Fault("table", str(path), "a list 'training'", ", ".join(content) or "none"))
        return {}
    parts: Rows = {}
    for part in sorted(lists, key=["training", "validation", "test"].index):
        name = lists[part][0]
        if len(lists[part]) > 1:
            on_fault(Fault("table", str(path), f"one list for the part {part}", ", ".join(lists[part])))
        rows = _json_rows(content[name], group_key)
        marked = any(isinstance(row, Mapping) and "trusted" in row for _, row in rows)
        sure = {number for number, row in rows if marked and _marked(row, part, path, number, on_fault)}
        parts[part] = [row for row in rows if row[0] not in sure]
        if sure:
            parts["trusted"] = [row for row in rows if row[0] in sure]
        elif marked and part == "training":
            on_fault(no_trusted(path))
        if any(isinstance(row, Mapping) and "fold" in row for row in content[name]):
            wanted = "separate lists of training and validation"
            on_fault(Fault("unread_column", str(path), wanted, f"the key 'fold' in {name!r}"))
    return parts


def _marked(row: Any, part: str, path: Path, number: int, on_fault: OnFault) -> bool:
    return isinstance(row, Mapping) and is_trusted(row.get("trusted"), part, path, number, on_fault)


def _json_rows(rows: Sequence[Any], group_key: str | None) -> list[Row]:
    """Number the entries, and store their patient or slide as ``group``."""
    if group_key is None:
        return list(enumerate(rows, 1))
    return [
        (number, {**row, "group": row.get(group_key)} if isinstance(row, Mapping) else row)
        for number, row in enumerate(rows, 1)
    ]


def _unread(name: str, rows: Sequence[Any], path: Path) -> Fault:
    if part_name(name) is None:
        wanted = "lists named training, validation or test"
        return Fault("unread_list", str(path), wanted, f"{len(rows)} images in {name!r}")
    return Fault("unread_list", str(path), f"labels in the list {name!r}", f"{len(rows)} images without labels")


def _labeled(row: Any) -> bool:
    return isinstance(row, Mapping) and row.get("label") not in (None, "")


def _is_image(row: Any) -> bool:
    return isinstance(row, str) or (isinstance(row, Mapping) and "image" in row)
