# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Data sets with one folder for each class and, optionally, a subfolder for each patient or slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_gmcl.data.faults import Fault, OnFault, stop
from monai_gmcl.data.label_names import Entry, joined_names, match_name, name_parts, sorted_names
from monai_gmcl.data.listing import Item, folder_entries, folder_files, foreign_fault, is_image
from monai_gmcl.data.part_lists import part_name

__all__ = ["class_folder_datalist", "class_folder_entries"]


def class_folder_datalist(
    folder: str | Path, class_names: Sequence[str] | None = None, on_fault: OnFault = stop
) -> tuple[list[Item], list[str]]:
    """List the images of a folder that contains one folder for each class.

    Args:
        folder: folder with one folder for each class. A class folder contains PNG, JPEG, TIFF or NIfTI images, or one
            folder for each patient, whose name is the ``group`` of the images.
        class_names: the classes in the order of their labels. Default: the sorted names of the folders; names that are
            numbers come first and are sorted by value.
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items sorted by class and file name, and the class names.

    Raises:
        DataError: the folder does not exist or has no classes, a class is not in ``class_names`` or is empty, or a file
            is not an image.
    """
    entries, names = class_folder_entries(Path(folder), class_names, on_fault)
    parts, names = name_parts({"training": entries}, names, Path(folder), on_fault)
    return parts["training"], names


def class_folder_entries(
    folder: Path, class_names: Sequence[str] | None, on_fault: OnFault
) -> tuple[list[Entry], list[str]]:
    """List the images of class folders with unchanged names, and the class names; see :func:`class_folder_datalist`."""
    names = list(class_names or [])
    if not folder.is_dir():
        on_fault(Fault("missing", str(folder), "a folder of class folders", "no folder"))
        return [], names
    children = folder_entries(folder, on_fault)
    found = {path.name: path for path in children if path.is_dir()}
    joined = joined_names(found)[0]
    names = sorted_names(joined.values()) if class_names is None else names
    classes = {name: match_name(joined[name], names) for name in found}
    if not found or None in classes.values() or not {*names} <= {*classes.values()}:
        wanted = "at least one class folder" if class_names is None else f"the class folders {', '.join(names)}"
        on_fault(Fault("layout", str(folder), wanted, ", ".join(found) or "none"))
    for path in children:
        if is_image(path) and not path.is_dir():
            on_fault(Fault("stray", str(path), "images only in class folders", "an image outside of them"))
    images = [
        (path, place, label)
        for label in names
        for name, place in found.items()
        if classes[name] == label
        for path in _class_images(place, on_fault)
    ]
    groups = _groups([path.relative_to(place).parts[:-1] for path, place, _ in images], folder, on_fault)
    entries = [Entry({"image": str(path), "label": place.name}) for path, place, _ in images]
    for entry, group in zip(entries, groups or (), strict=False):
        entry.item["group"] = group
    return entries, names


def _class_images(folder: Path, on_fault: OnFault) -> list[Path]:
    children = folder_entries(folder, on_fault)
    if not children:
        on_fault(Fault("empty_class", str(folder), "at least one image in the class folder", "none"))
    images = []
    for child in children:
        inner = child.is_dir() and not is_image(child)
        files = list(folder_files(child, on_fault)) if inner else [child]
        for path in files or [child]:
            if is_image(path):
                images.append(path)
            else:
                on_fault(foreign_fault(path, "in class folders"))
    return images


def _groups(places: list[tuple[str, ...]], folder: Path, on_fault: OnFault) -> list[str] | None:
    """Return the patient or slide of each image: the first folder level below the class on which names differ."""
    between = {place[0] for place in places if place}
    if between and all(part_name(name) for name in between):
        found = f"the parts {', '.join(sorted(between))} inside of class folders"
        on_fault(Fault("layout", str(folder), "class folders inside of the folders of parts", found))
        return None
    while all(places) and len({place[0] for place in places}) == 1:
        places = [place[1:] for place in places]
    if not any(places):
        return None
    if not all(places):
        found = f"some images in such folders ({next(filter(None, places))[0]!r}) and some outside of them"
        on_fault(Fault("group", str(folder), "all images in folders of patients or slides", found))
        return None
    return [place[0] for place in places]
