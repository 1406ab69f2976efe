# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set by its parts, as it stands in folders, a table or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.class_folders import class_folder_entries
from monai_gmcl.data.datalists import row_entries, table_rows
from monai_gmcl.data.entries import Entry, name_parts
from monai_gmcl.data.faults import Fault, OnFault, stop
from monai_gmcl.data.listing import Item, folder_entries, is_image
from monai_gmcl.data.part_names import is_trusted, no_trusted, part_name
from monai_gmcl.data.tables import Table, read_json, read_table

__all__ = ["list_parts"]

PART_COLUMNS = ("split", "part", "partition", "subset", "set", "phase")
"""Columns of tables that may say which part an image belongs to."""
Entries = dict[str, list[Entry]]


def list_parts(
    path: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    on_fault: OnFault = stop,
    trusted_dir: str | Path = "",
) -> tuple[dict[str, list[Item]], list[str]]:
    """List a data set by its parts, as it stands.

    Parts have their usual names, in small or capital letters: ``train``, ``Training``, ``val``, ``valid``,
    ``Testing``, ...

    Images of the training part whose row says yes in the column, or key, ``trusted`` are a part of their own.

    Args:
        path: a folder of parts, each of class folders; a folder of class folders; a CSV table, with a column ``split``
            where it has parts; or a MONAI JSON datalist.
        group_column: the table's column, or the list's key, of the patient or slide. Default: ``group``.
        class_names: the classes in the order of their labels. Default: those of the training part, numbers first, as
            numbers.
        on_fault: called with each fault. Default: errors raise.
        trusted_dir: a folder of class folders with further images of the part ``trusted``. Empty: none.

    Returns:
        Items of ``training`` and, where there are any, ``validation``, ``test`` and ``trusted``; and the class names.

    Raises:
        DataError: naming what was found instead.
    """
    path = Path(str(path))
    names = None if class_names is None else list(map(str, class_names))
    parts, names = _entries(path, group_column, names, on_fault)
    if str(trusted_dir):
        classes = names or list(dict.fromkeys(str(entry.item["label"]) for entry in parts["training"]))
        further, _ = class_folder_entries(Path(str(trusted_dir)), classes, on_fault)
        parts["trusted"] = [*parts.get("trusted", []), *further]
    return name_parts(parts, names, path, on_fault)


def _entries(
    path: Path, group_column: str | None, names: list[str] | None, on_fault: OnFault
) -> tuple[Entries, list[str] | None]:
    suffix = path.suffix.lower()
    if path.is_dir():
        if group_column:
            found = "a folder: folders of patients in class folders are taken"
            on_fault(Fault("table", str(path), f"a table with the column {group_column!r}", found))
        return _folder_parts(path, names, on_fault)
    if suffix in (".csv", ".tsv"):
        return _table_parts(path, group_column, names, on_fault), names
    if suffix == ".json":
        return _json_parts(path, group_column, names, on_fault), names
    accepted = "a folder of class folders, a .csv table or a .json datalist"
    on_fault(Fault("missing", str(path), accepted, "another file" if path.exists() else "no file or folder"))
    return {"training": []}, names


def _folder_parts(folder: Path, class_names: list[str] | None, on_fault: OnFault) -> tuple[Entries, list[str]]:
    folders = [path for path in folder_entries(folder, on_fault) if path.is_dir()]
    places: dict[str, list[Path]] = {}
    for path in folders:
        part = part_name(path.name)
        # a class may be named so, too: it holds images, a part holds folders
        inner = folder_entries(path, on_fault)
        if part is not None and (any(map(Path.is_dir, inner)) or not any(map(is_image, inner))):
            places.setdefault(part, []).append(path)
    if not places or ("training" not in places and sum(map(len, places.values())) < len(folders)):
        entries, found_names = class_folder_entries(folder, class_names, on_fault)
        return {"training": entries}, found_names
    if "training" not in places:
        found = ", ".join(path.name for path in folders)
        on_fault(Fault("layout", str(folder), "a folder 'train' of class folders", found))
        return {"training": []}, class_names or []
    for path in folders:
        if not any(path in found for found in places.values()):
            found = "a folder beside them" if part_name(path.name) is None else "images without class folders"
            on_fault(Fault("stray", str(path), "parts (train, valid, test) of class folders", found))
    parts: Entries = {}
    names: list[str] | None = class_names
    for part in sorted(places, key=["training", "validation", "test"].index):
        if len(places[part]) > 1:
            found = ", ".join(path.name for path in places[part])
            on_fault(Fault("layout", str(folder), f"one folder of {part}", found))
        parts[part], names = class_folder_entries(places[part][0], names, on_fault)
    return parts, names or []


def _table_parts(path: Path, group_column: str | None, class_names: list[str] | None, on_fault: OnFault) -> Entries:
    table = read_table(path, ["image", "label", *([group_column] if group_column else [])], on_fault)
    if table is None:
        return {"training": []}
    rows = table_rows(table, group=group_column)
    column = _part_column(table, path, on_fault)
    listed: dict[str, list[tuple[int, Any]]] = {} if rows else {"training": []}
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
        return {"training": []}
    order = [part for part in ("training", "validation", "test", "trusted") if part in listed]
    return {part: row_entries(listed[part], path, class_names, on_fault) for part in order}


def _part_column(table: Table, path: Path, on_fault: OnFault) -> str | None:
    """The column that says which part an image belongs to, where there is one."""
    for name in (*PART_COLUMNS, "fold"):
        column = table.column(name)
        values = [row[column] for _, row in table.rows] if column else []
        if values and all(map(part_name, values)):
            return column
        if values and name in ("split", "fold"):
            wrong = next(value for value in values if part_name(value) is None)
            on_fault(Fault("unread_column", str(path), f"training, validation or test in {column!r}", repr(wrong)))
    return None


def _json_parts(path: Path, group_key: str | None, class_names: list[str] | None, on_fault: OnFault) -> Entries:
    content = read_json(path, on_fault)
    if content is None:
        return {"training": []}
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
        return {"training": []}
    parts: Entries = {}
    for part in sorted(lists, key=["training", "validation", "test"].index):
        name = lists[part][0]
        if len(lists[part]) > 1:
            on_fault(Fault("table", str(path), f"one list of {part}", ", ".join(lists[part])))
        rows = _json_rows(content[name], group_key)
        marked = any(isinstance(row, Mapping) and "trusted" in row for _, row in rows)
        sure = {number for number, row in rows if marked and _marked(row, part, path, number, on_fault)}
        parts[part] = row_entries([row for row in rows if row[0] not in sure], path, class_names, on_fault)
        if sure:
            parts["trusted"] = row_entries([row for row in rows if row[0] in sure], path, class_names, on_fault)
        elif marked and part == "training":
            on_fault(no_trusted(path))
        if any(isinstance(row, Mapping) and "fold" in row for row in content[name]):
            wanted = f"lists of training and validation, not {name!r} in folds"
            on_fault(Fault("unread_column", str(path), wanted, "'fold'"))
    return parts


def _marked(row: Any, part: str, path: Path, number: int, on_fault: OnFault) -> bool:
    return isinstance(row, Mapping) and is_trusted(row.get("trusted"), part, path, number, on_fault)


def _json_rows(rows: Sequence[Any], group_key: str | None) -> list[tuple[int, Any]]:
    """Number the entries; what they give as the patient or slide is their ``group``."""
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
    return Fault("unread_list", str(path), f"labels in the list {name!r}", f"{len(rows)} images without")


def _labeled(row: Any) -> bool:
    return isinstance(row, Mapping) and row.get("label") not in (None, "")


def _is_image(row: Any) -> bool:
    return isinstance(row, str) or (isinstance(row, Mapping) and "image" in row)
