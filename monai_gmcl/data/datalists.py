# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.class_folders import Item
from monai_gmcl.data.faults import Fault, OnFault, stop
from monai_gmcl.data.label_names import class_name, multi_label, sorted_names

__all__ = ["read_csv_datalist", "read_json_content", "read_json_datalist"]


def read_csv_datalist(
    path: str | Path,
    image_column: str = "image",
    label_column: str | Sequence[str] = "label",
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    on_fault: OnFault = stop,
) -> tuple[list[Item], list[str]]:
    """List the images of a CSV table with a header.

    Args:
        path: the table; image paths in it are relative to its folder, or absolute.
        image_column: column of the image paths.
        label_column: column of the class (a name or a number), or several columns of 0/1 for multi-label tasks.
        group_column: column of the patient or slide.
        class_names: the classes in the order of their labels. Default: those found, sorted (numbers as numbers).
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items in the table's order, and the class names (the label columns for multi-label tasks).

    Raises:
        DataError: naming the file and the row (as a line of the file; the header is row 1).
    """
    path = Path(path)
    multi = not isinstance(label_column, str)
    labels = [label_column] if isinstance(label_column, str) else list(label_column)
    wanted = [image_column, *labels, *([group_column] if group_column else [])]
    read = _csv_rows(path, wanted, on_fault)
    if read is None:
        return [], list(class_names or [])
    rows: list[tuple[int, Any]] = []
    for number, row in read:
        label = [row[name] for name in labels] if multi else row[labels[0]]
        group = {"group": row[group_column]} if group_column else {}
        rows.append((number, {"image": row[image_column], "label": label, **group}))
    items, names = _items(rows, path, class_names, on_fault)
    return items, labels if multi else names


def read_json_datalist(
    path: str | Path,
    section: str = "training",
    class_names: Sequence[str] | None = None,
    on_fault: OnFault = stop,
) -> tuple[list[Item], list[str]]:
    """List the images of a MONAI JSON datalist: ``{"training": [{"image": ..., "label": ...}, ...]}``.

    Args:
        path: the file; image paths in it are relative to its folder, or absolute.
        section: which list of the file.
        class_names: the classes in the order of their labels. Default: those found, sorted.
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items (``group`` is kept where it is given) and the class names.

    Raises:
        DataError: naming the file and the entry (from 1).
    """
    path = Path(path)
    content = read_json_content(path, on_fault)
    if content is None:
        return [], list(class_names or [])
    if not isinstance(content.get(section), list):
        on_fault(Fault("table", str(path), f"a list {section!r}", ", ".join(content) or "none"))
        return [], list(class_names or [])
    return _items(list(enumerate(content[section], 1)), path, class_names, on_fault)


def read_json_content(path: Path, on_fault: OnFault = stop) -> dict[str, Any] | None:
    """Read a JSON datalist as it stands; None after a fault."""
    if not path.is_file():
        on_fault(Fault("missing", str(path), "a datalist", "no file"))
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    # JSONDecodeError and UnicodeDecodeError are ValueErrors, and so is a number of thousands of digits
    except (ValueError, RecursionError, OSError) as error:
        on_fault(Fault("table", str(path), "JSON", f"none: {error}"))
        return None
    if not isinstance(content, dict):
        on_fault(Fault("table", str(path), "a list 'training'", type(content).__name__))
        return None
    return content


def _csv_rows(path: Path, wanted: Sequence[str], on_fault: OnFault) -> list[tuple[int, dict[str, str]]] | None:
    if not path.is_file():
        on_fault(Fault("missing", str(path), "a datalist", "no file"))
        return None
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = list(table.fieldnames or [])
            for column in wanted:
                if columns.count(column) != 1:
                    found = "two of them" if column in columns else ", ".join(columns) or "none"
                    on_fault(Fault("table", str(path), f"a column {column!r}", found))
                    return None
            for row in table:
                if None in row:
                    found = f"{len(columns) + len(row[None])}: {', '.join(map(str, row[None]))!r} is too many"
                    on_fault(Fault("row", str(path), f"{len(columns)} values", found, table.line_num))
                else:
                    rows.append((table.line_num, row))
    except (csv.Error, ValueError, OSError) as error:
        on_fault(Fault("table", str(path), "a CSV table in UTF-8", f"none: {error}"))
        return None
    return rows


def _items(
    rows: Sequence[tuple[int, Any]], path: Path, class_names: Sequence[str] | None, on_fault: OnFault
) -> tuple[list[Item], list[str]]:
    if not rows:
        on_fault(Fault("table", str(path), "at least one image", "none"))
    items: list[tuple[int, Item]] = []
    for number, row in rows:
        read = _item(row, path, number, class_names)
        if isinstance(read, Fault):
            on_fault(read)
        else:
            items.append((number, read))
    if not items:
        return [], list(class_names or [])
    multi = isinstance(items[0][1]["label"], list)
    names = list(map(str, class_names)) if class_names is not None else sorted_names(item["label"] for _, item in items)
    kind = _kind(items[0][1]["label"])
    listed = []
    for number, item in items:
        if _kind(item["label"]) != kind:
            found = repr(item["label"])
            on_fault(Fault("label", str(path), f"{kind}, as in the rows before,", found, number))
        elif not multi and item["label"] not in names:
            found = repr(item["label"])
            on_fault(Fault("label", str(path), f"one of the classes {', '.join(names)}", found, number))
        else:
            listed.append(item if multi else {**item, "label": names.index(item["label"])})
    return listed, [str(k) for k in range(len(items[0][1]["label"]))] if multi else names


def _item(row: Any, path: Path, number: int, class_names: Sequence[str] | None) -> Item | Fault:
    """Return an item with its class's name."""

    def fault(kind: str, expected: str, found: str) -> Fault:
        return Fault(kind, str(path), expected, found, number)

    if not isinstance(row, Mapping) or not row.get("image") or row.get("label") in (None, "", []):
        return fault("row", "an image and a label", repr(row))
    try:
        image = path.parent / str(row["image"])
        there = image.is_file()
    except (OSError, ValueError) as error:  # a name too long, a name that is no text
        return fault("missing", "an image file", f"a path that cannot be followed ({error})")
    if not there:
        return fault("missing", "an image file", f"no file {str(image)!r}")
    label = row["label"]
    read = multi_label(label) if isinstance(label, list) else class_name(label, class_names)
    if read is None:
        wanted = "labels of 0 or 1" if isinstance(label, list) else "a class (a name, or a whole number from 0)"
        return fault("label", wanted, repr(label))
    item: Item = {"image": str(image), "label": read}
    if "group" in row:
        # Without one, images of the same patient could come to stand in two parts unnoticed.
        if row["group"] in (None, ""):
            return fault("group", "a group (patient or slide)", "none")
        item["group"] = str(row["group"]).strip()
    return item


def _kind(label: Any) -> str:
    return f"{len(label)} labels of 0 or 1" if isinstance(label, list) else "one class"
