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
from dataclasses import dataclass
from pathlib import Path

from monai_gmcl.data.class_folders import Item
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import picture_channels
from monai_gmcl.data.parts import list_parts
from monai_gmcl.data.phantom import make_phantom
from monai_gmcl.data.splits import check_no_leakage, grouped_stratified_split

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
    class_names: Sequence[str] | None = None,
) -> LabeledData:
    """Open what the user has, or the phantom.

    Args:
        dataset_dir: empty for the phantom; a folder with ``train``, ``valid`` and ``test``, each of class folders; a
            folder of class folders, split by seed; a CSV table; or a MONAI JSON datalist with ``training``,
            ``validation`` and ``test``, or else its ``training`` list alone. Tables and lists are split by seed and,
            where they are given, by patient or slide.
        phantom_dir: where the phantom is generated on first use.
        seed: of the split.
        group_column: the CSV table's column of the patient or slide.
        fractions: shares of training, validation and test, where the data are split here.
        class_names: the classes in the order of their labels; others are errors. Default: those found.

    Raises:
        DataError: naming what was found instead.
    """
    path = Path(dataset_dir) if str(dataset_dir) else make_phantom(phantom_dir)
    known = [class_names] if isinstance(class_names, str) else class_names
    parts, names = list_parts(path, group_column, None if known is None else [str(name) for name in known])
    if set(parts) != {"training", "validation", "test"}:
        dealt = grouped_stratified_split(parts["training"], fractions, seed)
        parts = dict(zip(("training", "validation", "test"), dealt, strict=True))
    return _parts(parts["training"], parts["validation"], parts["test"], names)


def _parts(training: list[Item], validation: list[Item], test: list[Item], names: list[str]) -> LabeledData:
    check_no_leakage({"training": training, "validation": validation, "test": test})
    first = Path(training[0]["image"])
    if first.name.lower().endswith((".nii", ".nii.gz")):
        return LabeledData(training, validation, test, names, spatial_dims=3, channels=1)
    channels = picture_channels(first)
    if isinstance(channels, Fault):
        raise channels.error()
    return LabeledData(training, validation, test, names, spatial_dims=2, channels=channels)
