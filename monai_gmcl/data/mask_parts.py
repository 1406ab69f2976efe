# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set of images with masks by split, for all layouts on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.channel_files import files_of
from monai_gmcl.data.datalists import image_path, readable_rows
from monai_gmcl.data.faults import Fault, OnFault, ignore, stop
from monai_gmcl.data.label_names import group_name, one_spelling
from monai_gmcl.data.listing import Item, is_image
from monai_gmcl.data.mask_folders import find_mask_folders, pair_masks
from monai_gmcl.data.part_lists import LISTS, list_rows
from monai_gmcl.data.tables import read_json

__all__ = ["has_masks", "list_mask_parts"]

RECORD = "dataset.json"
"""The file of a Medical Segmentation Decathlon or nnU-Net data set that names its classes."""


def has_masks(source: str | Path) -> bool:
    """Whether a data set has masks, by the names of its folders or the labels in its table or list."""
    path = Path(str(source))
    if path.is_dir():
        return bool(find_mask_folders(path, ignore))
    if path.suffix.lower() not in LISTS or not path.is_file():
        return False
    rows = [row for listed in list_rows(path, None, ignore).values() for _, row in listed]
    written = [row.get("label") for row in rows if isinstance(row, Mapping)]
    labels = [one for label in written for one in (label if isinstance(label, list) else [label])]
    return any(isinstance(label, str) and is_image(Path(label.strip())) for label in labels)


def list_mask_parts(
    path: str | Path, group_column: str | None = None, on_fault: OnFault = stop, trusted_dir: str | Path = ""
) -> tuple[dict[str, list[Item]], list[str] | None]:
    """List the items of each existing split of images with masks, and the class names of ``dataset.json``, or None.

    The path is a folder with ``images`` and ``labels`` (or ``masks``), a folder whose splits have these folders, or a
    folder with ``imagesTr`` and ``labelsTr``; a CSV table or a MONAI JSON datalist whose labels are the paths of masks,
    such as the ``dataset.json`` of the Medical Segmentation Decathlon. Items have ``image``, ``label`` (path of the
    mask) and, if known, ``group``: see :func:`~monai_gmcl.data.parts.list_parts`. DataError for another layout.
    """
    path = Path(str(path))
    parts: dict[str, list[Item]] = {"training": []}
    names = None
    if path.is_dir():
        if group_column:
            found = "a folder, in which the folders of images name the patients"
            on_fault(Fault("table", str(path), f"a table with the column {group_column!r}", found))
        folders = find_mask_folders(path, on_fault)
        if "training" not in [each.part for each in folders]:
            wanted = "images and labels, train/images and train/labels, or imagesTr and labelsTr"
            found = ", ".join(each.name for each in sorted(path.iterdir())) or "nothing"
            on_fault(Fault("layout_of_masks", str(path), wanted, found))
        parts.update((each.part, pair_masks(each, on_fault)) for each in folders)
        if (path / RECORD).is_file():
            names = _class_names(path / RECORD, on_fault)
            _check_channels(path / RECORD, parts, on_fault)
    elif path.suffix.lower() in LISTS:
        listed = list_rows(path, group_column, on_fault)
        parts.update((part, readable_rows(rows, path, _row_item, on_fault)) for part, rows in listed.items())
        names = _class_names(path, on_fault) if path.suffix.lower() == ".json" else None
    else:
        accepted = "a folder of images and masks, a .csv table or a .json datalist"
        on_fault(Fault("missing", str(path), accepted, "another file" if path.exists() else "no file or folder"))
    further = _trusted_items(Path(str(trusted_dir)), on_fault) if str(trusted_dir) else []
    if further:
        parts["trusted"] = [*parts.get("trusted", []), *further]
    return _with_groups(parts, path, on_fault), names


def _trusted_items(folder: Path, on_fault: OnFault) -> list[Item]:
    places = (
        [each for each in find_mask_folders(folder, on_fault) if each.part == "training"] if folder.is_dir() else []
    )
    if not places:
        found = ", ".join(sorted(each.name for each in folder.iterdir())) if folder.is_dir() else "no folder"
        on_fault(Fault("layout_of_masks", str(folder), "folders of trusted images and of labels", found or "nothing"))
    return [item for each in places for item in pair_masks(each, on_fault)]


def _row_item(row: Any, path: Path, number: int) -> Item | Fault:
    if not isinstance(row, Mapping) or not row.get("image") or row.get("label") in (None, "", []):
        return Fault("row", str(path), "an image and a mask", repr(row), number)
    if isinstance(row["label"], list) and len(row["label"]) > 1:
        return Fault("mask_channels", str(path), "one mask for each image", repr(row["label"]), number)
    item: Item = {}
    for key, written in (("image", row["image"]), ("label", row["label"])):
        found = image_path(written, path, number)
        if isinstance(found, Fault):
            return found
        item[key] = found
    if item["image"] == item["label"]:
        return Fault("row", str(path), "a mask in another file than its image", repr(row["label"]), number)
    if "group" in row:
        group = group_name(row["group"])
        if group is None:
            return Fault("group", str(path), "a group (patient or slide)", "none", number)
        item["group"] = group
    return item


def _class_names(record: Path, on_fault: OnFault) -> list[str] | None:
    """The classes of a ``dataset.json`` in the order of their numbers; keys may be the numbers or the names."""
    content = read_json(record, on_fault)
    labels = None if content is None else content.get("labels")
    if not isinstance(labels, Mapping):
        return None
    numbers = {}
    for key, value in labels.items():
        number, name = (key, value) if str(key).isdecimal() else (value, key)
        if not str(number).isdecimal():
            on_fault(Fault("table", str(record), "one number for each class in 'labels'", f"{name!r}: {number!r}"))
            return None
        if str(name).casefold() == "ignore":
            on_fault(
                Fault("ignored_class", str(record), "a class for every pixel", f"'ignore' with the value {number}")
            )
        numbers[int(number)] = str(name)
    if sorted(numbers) != list(range(len(numbers))):
        found = ", ".join(map(str, sorted(numbers)))
        on_fault(Fault("table", str(record), "labels numbered 0, 1, ... without gaps", found))
        return None
    return [numbers[number] for number in sorted(numbers)]


def _check_channels(record: Path, parts: Mapping[str, Sequence[Item]], on_fault: OnFault) -> None:
    """Compare the channel files of the images with nnU-Net's ``channel_names``."""
    named = (read_json(record, ignore) or {}).get("channel_names")
    for item in (item for items in parts.values() for item in items):
        channels = len(files_of(item["image"]))
        if isinstance(named, Mapping) and channels > 1 and channels != len(named):
            wanted = f"{len(named)} channels, as in the channel_names of {record.name},"
            on_fault(Fault("channels", item["image"], wanted, str(channels)))


def _with_groups(parts: dict[str, list[Item]], source: Path, on_fault: OnFault) -> dict[str, list[Item]]:
    """Use one name for each patient and slide in all splits."""
    written = [item["group"] for items in parts.values() for item in items if "group" in item]
    names = one_spelling(written, "patient or slide", source, on_fault)
    return {
        part: [{**item, "group": names[item["group"]]} if "group" in item else item for item in items]
        for part, items in parts.items()
    }
