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
from monai_gmcl.exceptions import DataError

__all__ = ["read_csv_datalist", "read_json_datalist"]


def read_csv_datalist(
    path: str | Path,
    image_column: str = "image",
    label_column: str | Sequence[str] = "label",
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[list[Item], list[str]]:
    """List the images of a CSV table with a header.

    Args:
        path: the table; image paths in it are relative to its folder, or absolute.
        image_column: column of the image paths.
        label_column: column of the class (a name or a number), or several columns of 0/1 for multi-label tasks.
        group_column: column of the patient or slide.
        class_names: the classes in the order of their labels. Default: those found, sorted (numbers as numbers).

    Returns:
        Items in the table's order, and the class names (the label columns for multi-label tasks).

    Raises:
        DataError: naming the file and the row (as a line of the file; the header is row 1).
    """
    path = Path(path)
    with _opened(path) as file:
        table = csv.DictReader(file)
        columns = list(table.fieldnames or [])
        multi = not isinstance(label_column, str)
        labels = list(label_column) if multi else [str(label_column)]
        for column in [image_column, *labels, *([group_column] if group_column else [])]:
            if column not in columns:
                raise DataError(f"Expected a column {column!r} in {str(path)!r}, found {', '.join(columns) or 'none'}.")
        rows = [
            (
                table.line_num,
                {
                    "image": row[image_column],
                    "label": [row[name] for name in labels] if multi else row[labels[0]],
                    **({"group": row[group_column]} if group_column else {}),
                },
            )
            for row in table
        ]
    items, names = _items(rows, path, class_names)
    return items, labels if multi else names


def read_json_datalist(
    path: str | Path, section: str = "training", class_names: Sequence[str] | None = None
) -> tuple[list[Item], list[str]]:
    """List the images of a MONAI JSON datalist: ``{"training": [{"image": ..., "label": ...}, ...]}``.

    Args:
        path: the file; image paths in it are relative to its folder, or absolute.
        section: which list of the file.
        class_names: the classes in the order of their labels. Default: those found, sorted.

    Returns:
        Items (``group`` is kept where it is given) and the class names.

    Raises:
        DataError: naming the file and the entry (from 1).
    """
    path = Path(path)
    with _opened(path) as file:
        try:
            content = json.load(file)
        except json.JSONDecodeError as error:
            raise DataError(f"Expected JSON in {str(path)!r}: {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get(section), list):
        found = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"Expected a list {section!r} in {str(path)!r}, found {found}.")
    return _items(list(enumerate(content[section], 1)), path, class_names)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"Expected a datalist, found no file {str(path)!r}.")
    return path.open(newline="", encoding="utf-8-sig")


def _items(
    rows: Sequence[tuple[int, Any]], path: Path, class_names: Sequence[str] | None
) -> tuple[list[Item], list[str]]:
    items = [_item(row, path, number) for number, row in rows]
    if not items:
        raise DataError(f"Expected at least one image in {str(path)!r}, found none.")
    kind = _kind(items[0]["label"])
    for (number, _), item in zip(rows, items, strict=True):
        if _kind(item["label"]) != kind:
            raise DataError(
                f"Expected {kind}, as in the rows before, in row {number} of {str(path)!r}, found {item['label']!r}."
            )
    if isinstance(items[0]["label"], list):
        return items, [str(k) for k in range(len(items[0]["label"]))]
    names = [str(name) for name in class_names] if class_names is not None else _sorted_names(items)
    for (number, _), item in zip(rows, items, strict=True):
        name = str(item["label"])
        if name not in names:
            raise DataError(
                f"Expected one of the classes {', '.join(names)} in row {number} of {str(path)!r}, found {name!r}."
            )
        item["label"] = names.index(name)
    return items, names


def _item(row: Any, path: Path, number: int) -> Item:
    where = f"row {number} of {str(path)!r}"
    if not isinstance(row, Mapping) or not row.get("image") or row.get("label") in (None, ""):
        raise DataError(f"Expected an image and a label in {where}, found {row!r}.")
    image = path.parent / str(row["image"])
    if not image.is_file():
        raise DataError(f"Expected an image file in {where}, found no file {str(image)!r}.")
    item: Item = {"image": str(image), "label": row["label"]}
    if "group" in row:
        # Without one, images of the same patient could come to stand in two parts unnoticed.
        if row["group"] in (None, ""):
            raise DataError(f"Expected a group (patient or slide) in {where}, found none.")
        item["group"] = str(row["group"])
    if isinstance(row["label"], Sequence) and not isinstance(row["label"], str):
        item["label"] = _multi_label(row["label"], where)
    return item


def _kind(label: Any) -> str:
    return f"{len(label)} labels of 0 or 1" if isinstance(label, list) else "one class"


def _multi_label(values: Sequence[Any], where: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or any(number not in (0.0, 1.0) for number in numbers):
        raise DataError(f"Expected labels of 0 or 1 in {where}, found {list(values)!r}.")
    return numbers


def _sorted_names(items: Sequence[Item]) -> list[str]:
    names = {str(item["label"]) for item in items}
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
