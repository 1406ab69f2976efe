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

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_gmcl.data.class_folders import Item, is_image
from monai_gmcl.data.datalists import _csv_rows, read_json_content
from monai_gmcl.data.faults import Fault, stop
from monai_gmcl.exceptions import DataError

__all__ = ["prediction_datalist"]

logger = logging.getLogger(__name__)

SHOWN = 5
"""How many files that are left out a warning names."""


def prediction_datalist(source: str | Path) -> list[Item]:
    """List the images of a source to predict: all that a training takes, with or without labels.

    Args:
        source: a folder, whose images are listed whatever its folders mean; a CSV table with a column ``image``; or a
            MONAI JSON datalist, of which all lists of images are taken.

    Returns:
        Items ``{"image": path}``: those of a folder sorted by path, those of a table or datalist in its order, each
        image once.

    Raises:
        DataError: nothing to predict, a row without an image, an image that is not there.
    """
    path = Path(source)
    if path.is_dir():
        found = _of_folder(path)
    elif path.suffix.lower() == ".csv":
        rows = [(number, row["image"]) for number, row in _csv_rows(path, ["image"], stop) or []]
        found = _of_rows(rows, path)
    elif path.suffix.lower() == ".json":
        found = _of_rows(list(enumerate(_json_rows(path), 1)), path)
    else:
        what = "another file" if path.exists() else "no file or folder"
        raise DataError(f"Expected a folder of images, a .csv table or a .json datalist, found {what} {str(path)!r}.")
    if not found:
        raise DataError(f"Expected at least one image to predict in {str(path)!r}, found none.")
    return [{"image": image} for image in dict.fromkeys(found)]


def _of_folder(folder: Path) -> list[str]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    others = [str(path) for path in files if not is_image(path)]
    if others:
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        logger.warning("Not predicted, as they are no images: %s%s.", ", ".join(others[:SHOWN]), more)
    return [str(path) for path in files if is_image(path)]


def _json_rows(path: Path) -> list[Any]:
    """The entries of all lists of images, whatever the parts are called."""
    rows: list[Any] = []
    for name, entries in (read_json_content(path) or {}).items():
        if isinstance(entries, list) and any(_is_image_entry(entry) for entry in entries):
            rows += [
                entry["image"] if _is_image_entry(entry) and isinstance(entry, Mapping) else entry for entry in entries
            ]
        elif isinstance(entries, list) and entries:
            logger.warning("Not predicted, as it is no list of images: %r of %s.", name, path)
    return rows


def _is_image_entry(entry: Any) -> bool:
    return isinstance(entry, str) or (isinstance(entry, Mapping) and "image" in entry)


def _of_rows(rows: list[tuple[int, Any]], path: Path) -> list[str]:
    found = []
    for number, image in rows:
        if not isinstance(image, str) or not image.strip():
            raise Fault("row", str(path), "an image", repr(image), number).error()
        file = path.parent / image.strip()
        if not file.is_file():
            raise Fault("missing", str(path), "an image file", f"no file {str(file)!r}", number).error()
        found.append(str(file))
    return found
