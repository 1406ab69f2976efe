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

from pathlib import Path

from monai_gmcl.data.class_folders import IMAGE_SUFFIXES, Item, is_image
from monai_gmcl.exceptions import DataError

__all__ = ["unlabeled_datalist"]


def unlabeled_datalist(folder: str | Path) -> list[Item]:
    """List the images of a folder and of the folders in it, without labels.

    Args:
        folder: PNG, JPEG, TIFF or NIfTI images; names of folders mean nothing; hidden files are left out.

    Returns:
        Items ``{"image": path}``, sorted by path.

    Raises:
        DataError: no folder, no images, a file that is no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"Expected a folder of unlabeled images, found no folder {str(folder)!r}.")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    for path in files:
        if not is_image(path):
            raise DataError(
                f"Expected only images ({', '.join(IMAGE_SUFFIXES)}) among the unlabeled ones, found {str(path)!r}."
            )
    if not files:
        raise DataError(f"Expected at least one unlabeled image in {str(folder)!r}, found none.")
    return [{"image": str(path)} for path in files]
