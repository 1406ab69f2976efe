# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a user's data, in words: one vocabulary for the readers' errors and the data check's table."""

from __future__ import annotations

from pathlib import Path

from monai_gmcl.data.faults import Fault, stop_at_errors
from monai_gmcl.data.listing import Item, folder_files, foreign_fault, is_image
from monai_gmcl.exceptions import DataError

__all__ = ["unlabeled_datalist"]


def unlabeled_datalist(folder: str | Path) -> list[Item]:
    """List the images of a folder and of the folders in it, without labels.

    Args:
        folder: PNG, JPEG, TIFF or NIfTI images; names of folders mean nothing; what operating systems leave there is
            left out.

    Returns:
        Items ``{"image": path}``, sorted by path.

    Raises:
        DataError: no folder, no images, a file that is no image.
    """
    folder = Path(str(folder))
    if not folder.is_dir():
        raise DataError(f"Expected a folder of unlabeled images, found no folder {str(folder)!r}.")
    faults: list[Fault] = []
    files = list(folder_files(folder, faults.append))
    faults += [foreign_fault(path, "among the unlabeled ones") for path in files if not is_image(path)]
    stop_at_errors(faults)
    if not files:
        raise DataError(f"Expected at least one unlabeled image in {str(folder)!r}, found none.")
    return [{"image": str(path)} for path in files]
