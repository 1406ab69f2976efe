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

from monai_gmcl.exceptions import DataError

__all__ = ["IMAGE_SUFFIXES", "Item", "class_folder_datalist", "is_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz")

Item = dict[str, Any]
"""``image``: path; ``label``: class index or list of floats; ``group``, where known: patient or slide."""


def is_image(path: Path) -> bool:
    """Whether the file's name ends like an image that can be read."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def class_folder_datalist(folder: str | Path, class_names: Sequence[str] | None = None) -> tuple[list[Item], list[str]]:
    """List the images of a folder that has a folder for each class.

    Args:
        folder: with one folder of PNG, JPEG, TIFF or NIfTI images per class.
        class_names: the classes in the order of their labels. Default: the folders' names, sorted.

    Returns:
        Items sorted by class and file name, and the class names.

    Raises:
        DataError: no folder, no classes, other classes than ``class_names``, an empty class, a file that is no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"Expected a folder of class folders, found no folder {str(folder)!r}.")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = list(found if class_names is None else class_names)
    if not found or sorted(names) != found:
        wanted = "at least one class folder" if class_names is None else f"the class folders {', '.join(names)}"
        raise DataError(f"Expected {wanted} in {str(folder)!r}, found {', '.join(found) or 'none'}.")
    items: list[Item] = []
    for label, name in enumerate(names):
        files = sorted(path for path in (folder / name).iterdir() if not path.name.startswith("."))
        for path in files:
            if not is_image(path):
                raise DataError(
                    f"Expected only images ({', '.join(IMAGE_SUFFIXES)}) in class folders, found {str(path)!r}."
                )
            items.append({"image": str(path), "label": label})
        if not files:
            raise DataError(f"Expected at least one image in the class folder {str(folder / name)!r}, found none.")
    return items, names
