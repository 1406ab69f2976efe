# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Opening a labeled data set in three splits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_gmcl.data.faults import Fault, stop_or_warn
from monai_gmcl.data.image_files import is_volume, picture_channels, volume_channels
from monai_gmcl.data.listing import Item
from monai_gmcl.data.part_lists import PARTS
from monai_gmcl.data.parts import list_parts
from monai_gmcl.data.phantom import make_phantom
from monai_gmcl.data.splits import check_no_leakage, classes_in, split_off
from monai_gmcl.exceptions import DataError

__all__ = ["LabeledData", "image_kind", "open_data"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabeledData:
    """A labeled data set in three splits.

    Attributes:
        training: items with ``image`` (path) and ``label`` (a class, a list of 0 and 1, or the path of a mask).
        validation: items for choosing settings and the best epoch.
        test: items that should be used once, at the end.
        class_names: class names in the order of the labels.
        spatial_dims: 2 or 3.
        channels: number of channels. 2-D images have 1 channel if all are gray, otherwise 3.
        trusted: items with checked labels, such as for ``meta_data_loader``; they are in no other split.
        mask_values: if labels are masks, the values of the classes in the masks; otherwise empty.
    """

    training: list[Item]
    validation: list[Item]
    test: list[Item]
    class_names: list[str]
    spatial_dims: int
    channels: int
    trusted: list[Item] = field(default_factory=list)
    mask_values: list[int] = field(default_factory=list)

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
    check: bool = True,
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
    trusted_dir: str | Path = "",
) -> LabeledData:
    """Open a labeled data set, or the phantom.

    Every file is checked first, as in ``python -m monai_gmcl validate``. Errors are raised, and warnings are logged.
    Existing splits are kept. Missing validation and test images are drawn at random from the training images, by seed
    and, if known, by patient or slide. Identical images are in one split.

    Args:
        dataset_dir: a folder with ``train``, ``valid`` and ``test``, each with class folders; a folder of class
            folders; a CSV table, optionally with a column ``split``; or a MONAI JSON datalist with ``training`` and,
            optionally, ``validation`` and ``test``. Empty: the phantom.
        phantom_dir: folder in which the phantom is drawn on first use.
        seed: seed of the split.
        group_column: column of the table with the patient or slide. Default: ``group``, if the table has this column.
            In folders, the folders between class and image are patients.
        fractions: fractions of training, validation and test images, if splits are missing.
        class_names: the classes in the order of their labels. Default: the sorted classes of the data; names that are
            numbers come first and are sorted by value.
        check: whether to check every file. Without the check, only headers are read, and images that have to be split,
            so that identical images are in one split.
        pixel_limit: largest number of pixels of an image, or of voxels of a volume; see :func:`image_transforms`.
        intensity_range: range with which the images will be read; the check compares the values of images with it.
        trusted_dir: a folder of class folders of images with checked labels, at least one of each class. Alternatively,
            training images in tables and lists are marked by ``yes`` in the column, or key, ``trusted``. Trusted images
            are in no other split. If an image or patient is also in another split, an error is raised (without the
            check: if a file or patient is).

    Raises:
        ConfigurationError: a wrong limit or range.
        DataError: the data set has errors; the message names the first one.
    """
    # Imported here, because data_check imports this package.
    from monai_gmcl.data_check.check import look_over
    from monai_gmcl.data_check.looks import find_twins

    path = Path(str(dataset_dir)) if str(dataset_dir) else make_phantom(phantom_dir)
    class_names = [class_names] if isinstance(class_names, str) else class_names
    if check and str(dataset_dir):
        rest = pixel_limit, intensity_range, 1.0, trusted_dir
        looked = look_over(path, group_column, class_names, *rest)
        parts, names, twins, faults = looked.parts, looked.class_names, looked.twins, looked.report.faults
    else:
        listed: list[Fault] = []
        parts, names = list_parts(path, group_column, class_names, listed.append, trusted_dir)
        # Identical images must be known if the data are split.
        split = [] if str(dataset_dir) == "" or all(map(parts.get, PARTS)) else parts["training"]
        twins, faults = find_twins([item["image"] for item in split], pixel_limit), tuple(listed)
    stop_or_warn(faults, path)
    whole = split_off(parts, fractions, seed, twins)
    trusted = parts.get("trusted", [])
    check_no_leakage({**whole, "trusted": trusted})
    _check_trusted(trusted, names, trusted_dir)
    known = classes_in(whole["training"])
    absent = [name for label, name in enumerate(names) if label not in known]
    if absent and len(whole["training"]) < len(parts["training"]):
        logger.warning(
            "There are too few images to split: training has no image of %s. Provide validation and test yourself.",
            absent,
        )
    dims, channels = image_kind(item["image"] for items in (*whole.values(), trusted) for item in items)
    return LabeledData(whole["training"], whole["validation"], whole["test"], names, dims, channels, trusted)


def _check_trusted(trusted: list[Item], names: list[str], trusted_dir: str | Path) -> None:
    missing = [name for label, name in enumerate(names) if label not in classes_in(trusted)]
    if missing and (trusted or str(trusted_dir)):
        raise DataError(f"Expected trusted images of each class, found none of {', '.join(missing)}.")


def image_kind(paths: Iterable[str]) -> tuple[int, int]:
    """Return the dimensions and the number of channels of all images by their headers: 3 if any image has colors.

    DataError if the data set has images and volumes, or volumes differ in their channels.
    """
    first: tuple[str, int, int] | None = None
    most = 0
    for path in dict.fromkeys(paths):
        dims = 3 if is_volume(path) else 2
        channels = volume_channels(path) if dims == 3 else picture_channels(path)
        if isinstance(channels, Fault):
            raise channels.error()
        first = first or (path, dims, channels)
        if dims != first[1]:
            kinds = ("images", "a volume") if dims == 3 else ("volumes", "an image")
            raise Fault("dimensions", path, f"{kinds[0]}, as {first[0]!r},", kinds[1]).error()
        if dims == 3 and channels != first[2]:
            raise Fault("channels", path, f"{first[2]} channels, as in {first[0]!r},", str(channels)).error()
        most = max(most, channels)
    if first is None:
        raise DataError("Expected at least one image, found none.")
    return first[1], most
