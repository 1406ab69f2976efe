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

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.class_folders import Item, class_folder_datalist
from monai_gmcl.data.datalists import read_csv_datalist, read_json_content, read_json_datalist
from monai_gmcl.data.faults import Fault, OnFault, stop

__all__ = ["list_parts"]

LISTS = {"training": "training", "validation": "validation", "test": "test", "testing": "test"}
"""Parts by the names that JSON datalists give them."""


def list_parts(
    path: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    on_fault: OnFault = stop,
) -> tuple[dict[str, list[Item]], list[str]]:
    """List a data set by its parts, as it stands.

    Args:
        path: a folder with ``train``, ``valid`` (or ``val``) and ``test``, each of class folders; a folder of class
            folders; a CSV table; or a MONAI JSON datalist.
        group_column: the CSV table's column of the patient or slide.
        class_names: the classes in the order of their labels. Default: those of the training part, sorted.
        on_fault: called with each fault. Default: errors raise.

    Returns:
        Items of ``training`` and, where there are any, of ``validation`` and ``test``; and the class names.

    Raises:
        DataError: naming what was found instead.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_parts(path, class_names, on_fault)
    if path.suffix.lower() == ".csv":
        items, names = read_csv_datalist(path, group_column=group_column, class_names=class_names, on_fault=on_fault)
        return {"training": items}, names
    if path.suffix.lower() == ".json":
        return _json_parts(path, class_names, on_fault)
    accepted = "a folder of class folders, a .csv table or a .json datalist"
    on_fault(Fault("missing", str(path), accepted, "another file" if path.exists() else "no file or folder"))
    return {"training": []}, list(class_names or [])


def _folder_parts(
    folder: Path, class_names: Sequence[str] | None, on_fault: OnFault
) -> tuple[dict[str, list[Item]], list[str]]:
    if not (folder / "train").is_dir():
        items, names = class_folder_datalist(folder, class_names, on_fault)
        return {"training": items}, names
    training, names = class_folder_datalist(folder / "train", class_names, on_fault)
    valid = folder / "valid" if (folder / "valid").is_dir() else folder / "val"
    others = {"validation": valid, "test": folder / "test"}
    return {
        "training": training,
        **{part: class_folder_datalist(place, names, on_fault)[0] for part, place in others.items()},
    }, names


def _json_parts(
    path: Path, class_names: Sequence[str] | None, on_fault: OnFault
) -> tuple[dict[str, list[Item]], list[str]]:
    items, names = read_json_datalist(path, "training", class_names, on_fault)
    parts = {"training": items}
    # what is wrong with the file as a whole has been told by now
    content = read_json_content(path, lambda fault: None)
    for name, rows in (content or {}).items():
        if not isinstance(rows, list) or not rows or name == "training":
            continue
        if name in LISTS and any(_labeled(row) for row in rows):
            parts[LISTS[name]] = read_json_datalist(path, name, names, on_fault)[0]
        elif any(_is_image(row) for row in rows):
            on_fault(Fault("unread_list", str(path), f"labels in the list {name!r}", f"{len(rows)} images without"))
    return parts, names


def _labeled(row: Any) -> bool:
    return isinstance(row, Mapping) and row.get("label") not in (None, "")


def _is_image(row: Any) -> bool:
    return isinstance(row, str) or (isinstance(row, Mapping) and "image" in row)
