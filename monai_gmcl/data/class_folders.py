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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import Fault, OnFault, stop

__all__ = ["IMAGE_SUFFIXES", "Item", "class_folder_datalist", "is_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz")

Item = dict[str, Any]
"""``image``: path; ``label``: class index or list of floats; ``group``, where known: patient or slide."""


def is_image(path: Path) -> bool:
    """Whether the file's name ends like an image that can be read."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def class_folder_datalist(
    folder: str | Path, class_names: Sequence[str] | None = None, on_fault: OnFault = stop
) -> tuple[list[Item], list[str]]:
    """List the images of a folder that has a folder for each class.

    Args:
        folder: with one folder of PNG, JPEG, TIFF or NIfTI images per class.
        class_names: the classes in the order of their labels. Default: the folders' names, sorted.
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items sorted by class and file name, and the class names.

    Raises:
        DataError: no folder, no classes, other classes than ``class_names``, an empty class, a file that is no image.
    """
    folder = Path(folder)
    names = list(class_names or [])
    if not folder.is_dir():
        on_fault(Fault("missing", str(folder), "a folder of class folders", "no folder"))
        return [], names
    entries = _entries(folder, on_fault)
    found = [path.name for path in entries if path.is_dir()]
    names = found if class_names is None else names
    if not found or sorted(names) != found:
        wanted = "at least one class folder" if class_names is None else f"the class folders {', '.join(names)}"
        on_fault(Fault("layout", str(folder), wanted, ", ".join(found) or "none"))
    for path in entries:
        if is_image(path) and not path.is_dir():
            on_fault(Fault("stray", str(path), "images in class folders", "one beside them"))
    items: list[Item] = []
    for label, name in enumerate(names):
        if name in found:
            items += _class_items(folder / name, label, on_fault)
    return items, names


def _class_items(folder: Path, label: int, on_fault: OnFault) -> list[Item]:
    files = _entries(folder, on_fault)
    if not files:
        on_fault(Fault("empty_class", str(folder), "at least one image in the class folder", "none"))
    items = []
    for path in files:
        if is_image(path):
            items.append({"image": str(path), "label": label})
        else:
            only = f"only images ({', '.join(IMAGE_SUFFIXES)}) in class folders"
            on_fault(Fault("not_an_image", str(path), only, f"{str(path.name)!r}"))
    return items


def _entries(folder: Path, on_fault: OnFault) -> list[Path]:
    """What stands in a folder, sorted, without hidden files."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        on_fault(Fault("missing", str(folder), "a folder that can be read", f"a locked one ({error.strerror})"))
        return []
