# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set by its existing splits in folders, a table or a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_gmcl.data.class_folders import class_folder_entries
from monai_gmcl.data.datalists import row_entries
from monai_gmcl.data.faults import Fault, OnFault, stop
from monai_gmcl.data.label_names import Entry, name_parts
from monai_gmcl.data.listing import Item, folder_entries, is_image
from monai_gmcl.data.mask_parts import has_masks
from monai_gmcl.data.part_lists import LISTS, list_rows, part_name

__all__ = ["list_parts"]

Entries = dict[str, list[Entry]]


def list_parts(
    path: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    on_fault: OnFault = stop,
    trusted_dir: str | Path = "",
) -> tuple[dict[str, list[Item]], list[str]]:
    """Return the items of a data set by its existing splits, and the class names; DataError if it cannot be read.

    The splits are ``training`` and, if they exist, ``validation``, ``test`` and ``trusted``. Their usual names are
    recognized, ignoring case (``train``, ``Training``, ``val``, ``valid``, ``Testing``, ...). Training images with yes
    in the column, or key, ``trusted`` are in the split ``trusted``. ``trusted_dir``, a folder of class folders,
    contains further trusted images.

    The path is a folder of splits with class folders; a folder of class folders; a CSV table, optionally with a column
    ``split``; or a MONAI JSON datalist. ``group_column`` (default: ``group``) has the patient or slide. By default, the
    classes are the sorted classes of the training images; names that are numbers come first and are sorted by value.
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
    if path.is_dir():
        if group_column:
            found = "a folder, in which the folders of images name the patients"
            on_fault(Fault("table", str(path), f"a table with the column {group_column!r}", found))
        if has_masks(path):
            wanted = "class folders (open_segmentation_data and the bundle gmcl_segmentation read masks)"
            on_fault(Fault("layout", str(path), wanted, "images with masks"))
            return {"training": []}, names
        return _folder_parts(path, names, on_fault)
    if path.suffix.lower() in LISTS:
        rows = list_rows(path, group_column, on_fault)
        parts = {part: row_entries(listed, path, names, on_fault) for part, listed in rows.items()}
        return parts or {"training": []}, names
    accepted = "a folder of class folders, a .csv table or a .json datalist"
    on_fault(Fault("missing", str(path), accepted, "another file" if path.exists() else "no file or folder"))
    return {"training": []}, names


def _folder_parts(folder: Path, class_names: list[str] | None, on_fault: OnFault) -> tuple[Entries, list[str]]:
    folders = [path for path in folder_entries(folder, on_fault) if path.is_dir()]
    places: dict[str, list[Path]] = {}
    for path in folders:
        part = part_name(path.name)
        # a class may have the name of a split, too: a class folder contains images, a split contains folders
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
            found = "another folder" if part_name(path.name) is None else "images outside of class folders"
            on_fault(Fault("stray", str(path), "parts (train, valid, test) of class folders", found))
    parts: Entries = {}
    names: list[str] | None = class_names
    for part in sorted(places, key=["training", "validation", "test"].index):
        if len(places[part]) > 1:
            found = ", ".join(path.name for path in places[part])
            on_fault(Fault("layout", str(folder), f"one folder for the part {part}", found))
        parts[part], names = class_folder_entries(places[part][0], names, on_fault)
    return parts, names or []
