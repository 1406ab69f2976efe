# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lists of images without labels, for training with unlabeled images and for prediction."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monai_gmcl.data.channel_files import join_cases
from monai_gmcl.data.datalists import image_path
from monai_gmcl.data.dicom_series import is_series
from monai_gmcl.data.faults import Fault, stop_at_errors
from monai_gmcl.data.listing import IMAGE_SUFFIXES, Item, folder_files, foreign_fault, is_image
from monai_gmcl.data.mask_folders import find_mask_folders
from monai_gmcl.data.tables import read_json, read_table
from monai_gmcl.exceptions import DataError

__all__ = ["prediction_datalist", "unlabeled_datalist"]

logger = logging.getLogger(__name__)


def unlabeled_datalist(folder: str | Path) -> list[Item]:
    """List the images of a folder and its subfolders, without labels.

    Args:
        folder: folder of PNG, JPEG, TIFF or NIfTI images. Names of subfolders have no meaning. Files of operating
            systems are ignored.

    Returns:
        Items ``{"image": path}``, sorted by path.

    Raises:
        DataError: the folder does not exist or has no images, or a file is not an image.
    """
    folder = Path(str(folder))
    if not folder.is_dir():
        raise DataError(f"Expected a folder of unlabeled images, found no folder {str(folder)!r}.")
    faults: list[Fault] = []
    files = list(folder_files(folder, faults.append))
    faults += [foreign_fault(path, "among unlabeled images") for path in files if not is_image(path)]
    stop_at_errors(faults)
    if not files:
        raise DataError(f"Expected at least one unlabeled image in {str(folder)!r}, found none.")
    return [{"image": path} for path in join_cases(map(str, files))]


def prediction_datalist(source: str | Path) -> list[Item]:
    """List the images to predict, from any source that training accepts. Labels are optional.

    Args:
        source: a folder with its subfolders, except folders of masks; a CSV table with a column ``image``; a MONAI JSON
            datalist, of which all lists are used; or one image. Files of operating systems are ignored. Other files
            that are not images are skipped with a warning.

    Returns:
        Items ``{"image": path}``, without duplicates, sorted by path or in the order of the table or the lists.

    Raises:
        DataError: the source does not exist or has no images, or a file of the table or list is missing.
    """
    path = Path(str(source))
    faults: list[Fault] = []
    suffix = path.suffix.lower()
    if is_series(path) or (path.is_file() and is_image(path)):
        images = [str(path)]
    elif path.is_dir():
        images = _folder_images(path, faults)
    elif suffix in (".csv", ".tsv"):
        table = read_table(path, ["image"], faults.append)
        column = table.column("image") if table else None
        images = _paths([(number, row[column or ""]) for number, row in table.rows] if table else [], path, faults)
    elif suffix == ".json":
        images = _paths(_listed(read_json(path, faults.append) or {}), path, faults)
    else:
        accepted = "a folder of images, a .csv table, a .json datalist or an image to predict"
        raise DataError(
            f"Expected {accepted}, found {'another file' if path.exists() else 'no file'} at {str(path)!r}."
        )
    stop_at_errors(faults)
    if not images:
        raise DataError(f"Expected images to predict in {str(path)!r} ({', '.join(IMAGE_SUFFIXES)}), found none.")
    return [{"image": image} for image in dict.fromkeys(images)]


def _folder_images(folder: Path, faults: list[Fault]) -> list[str]:
    files = list(folder_files(folder, faults.append))
    places = [masks for _, _, masks in find_mask_folders(folder, faults.append)]
    files = [path for path in files if not any(path.is_relative_to(place) for place in places)]
    foreign = [foreign_fault(path, "to predict") for path in files if not is_image(path)]
    images = join_cases(str(path) for path in files if is_image(path))
    if not images:
        faults += [fault for fault in foreign if fault.kind == "dicom"]
    elif foreign:
        first, more = foreign[0].file, f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
        logger.warning("These files are not images and get no prediction: %r%s.", first, more)
    return images


def _listed(content: dict[str, Any]) -> list[tuple[int, Any]]:
    """Return the images of all lists. An entry is a path, or a mapping with a path."""
    listed = []
    for rows in content.values():
        for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
            if isinstance(row, dict | str):
                listed.append((number, row.get("image") if isinstance(row, dict) else row))
    return listed


def _paths(rows: list[tuple[int, Any]], source: Path, faults: list[Fault]) -> list[str]:
    found = [image_path(written, source, number) for number, written in rows]
    faults += [each for each in found if isinstance(each, Fault)]
    return [each for each in found if isinstance(each, str)]
