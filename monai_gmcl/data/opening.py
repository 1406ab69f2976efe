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

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from monai_gmcl.data.class_folders import Item, class_folder_datalist
from monai_gmcl.data.datalists import read_csv_datalist, read_json_datalist
from monai_gmcl.data.phantom import make_phantom
from monai_gmcl.data.splits import check_no_leakage, grouped_stratified_split
from monai_gmcl.exceptions import DataError

__all__ = ["LabeledData", "open_data"]


@dataclass(frozen=True)
class LabeledData:
    """A labeled data set in three parts.

    Attributes:
        training: items with ``image`` (path) and ``label``.
        validation: to choose weights with.
        test: read once, at the end.
        class_names: in the order of the labels.
        spatial_dims: 2 or 3.
        channels: 1 or 3 for 2-D images (of the first one), 1 for volumes.
    """

    training: list[Item]
    validation: list[Item]
    test: list[Item]
    class_names: list[str]
    spatial_dims: int
    channels: int

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def open_data(
    dataset_dir: str | Path = "",
    phantom_dir: str | Path = "phantom",
    seed: int = 0,
    group_column: str | None = None,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
) -> LabeledData:
    """Open what the user has, or the phantom.

    Args:
        dataset_dir: empty for the phantom; a folder with ``train``, ``valid`` and ``test``, each of class folders; a
            folder of class folders, split by seed; or a CSV table or the ``training`` list of a MONAI JSON datalist,
            split by seed and, where they are given, by patient or slide.
        phantom_dir: where the phantom is generated on first use.
        seed: of the split.
        group_column: the CSV table's column of the patient or slide.
        fractions: shares of training, validation and test, where the data are split here.

    Raises:
        DataError: naming what was found instead.
    """
    if not str(dataset_dir):
        return _folders(make_phantom(phantom_dir))
    path = Path(dataset_dir)
    readers: dict[str, Callable[[], tuple[list[Item], list[str]]]] = {
        ".csv": lambda: read_csv_datalist(path, group_column=group_column),
        ".json": lambda: read_json_datalist(path),
    }
    if path.is_dir() and (path / "train").is_dir():
        return _folders(path)
    if path.is_dir():
        items, names = class_folder_datalist(path)
    elif path.suffix.lower() in readers:
        items, names = readers[path.suffix.lower()]()
    else:
        raise DataError(
            "Expected dataset_dir to be a folder of class folders, a .csv table or a .json datalist, "
            f"found {str(path)!r}."
        )
    training, validation, test = grouped_stratified_split(items, fractions, seed)
    return _parts(training, validation, test, names)


def _folders(folder: Path) -> LabeledData:
    training, names = class_folder_datalist(folder / "train")
    valid = folder / "valid" if (folder / "valid").is_dir() else folder / "val"
    return _parts(
        training, class_folder_datalist(valid, names)[0], class_folder_datalist(folder / "test", names)[0], names
    )


def _parts(training: list[Item], validation: list[Item], test: list[Item], names: list[str]) -> LabeledData:
    check_no_leakage({"training": training, "validation": validation, "test": test})
    first = Path(training[0]["image"])
    if first.name.lower().endswith((".nii", ".nii.gz")):
        return LabeledData(training, validation, test, names, spatial_dims=3, channels=1)
    try:
        with Image.open(first) as image:
            grey = image.mode.startswith(("1", "L", "I", "F"))
    except OSError as error:
        raise DataError(f"Expected a readable PNG, JPEG or TIFF image in {str(first)!r}: {error}.") from error
    return LabeledData(training, validation, test, names, spatial_dims=2, channels=1 if grey else 3)
