# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data sets in lists: CSV tables and MONAI JSON datalists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from monai_gmcl.data.channel_files import join_channels
from monai_gmcl.data.dicom_series import is_series
from monai_gmcl.data.faults import Fault, OnFault, stop
from monai_gmcl.data.label_names import Entry, class_name, group_name, multi_label, name_parts
from monai_gmcl.data.listing import IMAGE_SUFFIXES, Item
from monai_gmcl.data.tables import Table, read_json, read_table

__all__ = ["Row", "image_path", "read_csv_datalist", "read_json_datalist", "readable_rows", "row_entries", "table_rows"]

Read = TypeVar("Read")
Row = tuple[int, Any]
"""The number of a row (line of a CSV table, entry of a JSON list) and its content."""


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
        path: path of the table; image paths in the table are absolute, or relative to its folder.
        image_column: column of the image paths.
        label_column: column of the class (a name or a number), or several columns of 0/1 for multi-label tasks.
        group_column: column of the patient or slide. Default: ``group``, if the table has this column.
        class_names: the classes in the order of their labels. Default: the sorted classes of the table.
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items in the table's order, and the class names (the label columns for multi-label tasks).

    Raises:
        DataError: a row is wrong. The message names the file and the row (the header is row 1).
    """
    path = Path(path)
    multi = not isinstance(label_column, str)
    labels = [label_column] if isinstance(label_column, str) else list(label_column)
    table = read_table(path, [image_column, *labels, *([group_column] if group_column else [])], on_fault)
    if table is None:
        return [], list(class_names or [])
    rows = table_rows(table, image_column, labels if multi else labels[0], group_column)
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
        path: path of the file; image paths in the file are absolute, or relative to its folder.
        section: name of the list in the file.
        class_names: the classes in the order of their labels. Default: the sorted classes of the list.
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items, with ``group`` if the entry has it, and the class names.

    Raises:
        DataError: an entry is wrong. The message names the file and the entry (counted from 1).
    """
    path = Path(path)
    content = read_json(path, on_fault)
    if content is None:
        return [], list(class_names or [])
    if not isinstance(content.get(section), list):
        on_fault(Fault("table", str(path), f"a list {section!r}", ", ".join(content) or "none"))
        return [], list(class_names or [])
    return _items(list(enumerate(content[section], 1)), path, class_names, on_fault)


def table_rows(
    table: Table, image_column: str = "image", label_column: str | Sequence[str] = "label", group: str | None = None
) -> list[Row]:
    """Return the rows of a table as mappings with ``image``, ``label`` and, if the table has it, ``group``."""
    image, place = table.column(image_column), table.column(group or "group")
    columns = [label_column] if isinstance(label_column, str) else list(label_column)
    found = [table.column(column) or column for column in columns]
    rows: list[Row] = []
    for number, row in table.rows:
        label = row[found[0]] if isinstance(label_column, str) else [row[column] for column in found]
        rows.append((number, {"image": row[image or ""], "label": label, **({"group": row[place]} if place else {})}))
    return rows


def _entry(row: Any, path: Path, number: int, class_names: Sequence[str] | None = None) -> Entry | Fault:
    """Return the image of a row with its unchanged label and group, or report what is wrong with the row."""

    def fault(kind: str, expected: str, found: str) -> Fault:
        return Fault(kind, str(path), expected, found, number)

    if not isinstance(row, Mapping) or not row.get("image") or row.get("label") in (None, "", []):
        return fault("row", "an image and a label", repr(row))
    image = image_path(row["image"], path, number)
    if isinstance(image, Fault):
        return image
    label = row["label"]
    read: Any = multi_label(label) if isinstance(label, list) else class_name(label, class_names)
    if isinstance(label, str) and label.lower().endswith(IMAGE_SUFFIXES):
        wanted = "a class (open_segmentation_data and the bundle gmcl_segmentation read masks)"
        return fault("label", wanted, f"the file {label!r}")
    if read is None:
        wanted = "labels of 0 or 1" if isinstance(label, list) else "a class (a name, or a whole number of at least 0)"
        return fault("label", wanted, repr(label))
    item: Item = {"image": image, "label": label if isinstance(label, bool) else read}
    if "group" in row:
        group = group_name(row["group"])
        # Without a group, images of one patient could be in two splits.
        if group is None:
            return fault("group", "a group (patient or slide)", "none")
        item["group"] = group
    return Entry(item, number)


def image_path(written: Any, path: Path, number: int) -> str | Fault:
    """Return the path of a row's image. Paths are relative to the list's folder; both kinds of separators are accepted.

    Several files are the channels of a volume and get one path (:mod:`monai_gmcl.data.channel_files`).
    """
    if isinstance(written, list) and written:
        files = [image_path(one, path, number) for one in written]
        unfit = next((file for file in files if isinstance(file, Fault)), None)
        one = join_channels(list(map(str, files))) if len(files) > 1 else files[0]
        return (
            unfit
            or one
            or Fault("row", str(path), "one image, or a NIfTI file for each channel", repr(written), number)
        )
    if not isinstance(written, str):
        return Fault("row", str(path), "the path of one image", repr(written), number)
    slashed = written.strip().replace("\\", "/")
    # a path that leaves the folder is not resolved further
    ways = [written, written.strip()] if ".." in slashed.split("/") else [written, written.strip(), slashed]
    try:
        for way in ways:
            if (path.parent / way).is_file() or is_series(path.parent / way):
                return str(path.parent / way)
        near = [slashed + suffix for suffix in ("", *IMAGE_SUFFIXES) if (path.parent / (slashed + suffix)).is_file()]
    except (OSError, ValueError) as error:  # the name is too long or is not a string
        return Fault("missing", str(path), "an image file", f"a path that cannot be opened ({error})", number)
    hint = f"; there is a file {near[0]!r}" if near else ""
    return Fault("missing", str(path), "an image file", f"no file {str(path.parent / written)!r}{hint}", number)


def _items(
    rows: Sequence[Row], path: Path, class_names: Sequence[str] | None, on_fault: OnFault
) -> tuple[list[Item], list[str]]:
    entries = row_entries(rows, path, class_names, on_fault)
    if not entries:
        return [], list(class_names or [])
    parts, names = name_parts({"training": entries}, class_names, path, on_fault)
    return parts["training"], names


def row_entries(rows: Sequence[Row], path: Path, class_names: Sequence[str] | None, on_fault: OnFault) -> list[Entry]:
    """Return the readable entries of rows; report each fault."""
    return readable_rows(rows, path, partial(_entry, class_names=class_names), on_fault)


def readable_rows(
    rows: Sequence[Row], path: Path, read: Callable[[Any, Path, int], Read | Fault], on_fault: OnFault
) -> list[Read]:
    """Return what ``read`` makes of each row's content, the list's path and the row's number; report its faults."""
    if not rows:
        on_fault(Fault("table", str(path), "at least one image", "none"))
    found = [read(row, path, number) for number, row in rows]
    for fault in found:
        if isinstance(fault, Fault):
            on_fault(fault)
    return [each for each in found if not isinstance(each, Fault)]
