# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A labeled data set in three parts, whatever the user has."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_gmcl.data.faults import Fault, stop_or_warn
from monai_gmcl.data.image_files import is_volume, picture_channels, volume_channels
from monai_gmcl.data.listing import Item
from monai_gmcl.data.part_names import PARTS
from monai_gmcl.data.parts import list_parts
from monai_gmcl.data.phantom import make_phantom
from monai_gmcl.data.splits import check_no_leakage, classes_in, split_off
from monai_gmcl.exceptions import DataError

__all__ = ["LabeledData", "image_kind", "open_data"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabeledData:
    """A labeled data set in three parts.

    Attributes:
        training: items with ``image`` (path) and ``label`` (a class, a list of 0 and 1, or the path of a mask).
        validation: to choose weights with.
        test: read once, at the end.
        class_names: in the order of the labels.
        spatial_dims: 2 or 3.
        channels: of 2-D images 1 where all are grey, or else 3; of volumes their own.
        trusted: images whose labels are sure, in no other part, such as for ``meta_data_loader``.
        mask_values: where labels are paths of masks, the numbers in these that stand for the classes; else empty.
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
    """Open what the user has, or the phantom.

    Every file is looked at first, by the code of ``python -m monai_gmcl validate``: what has errors there is refused
    here, and warnings are logged. Parts that are given are kept; what is missing of validation and test is split off
    training by seed and, where they are known, by patient or slide. Images that show the same come into one part.

    Args:
        dataset_dir: empty for the phantom; a folder with ``train``, ``valid`` and ``test``, each of class folders; a
            folder of class folders; a CSV table, with a column ``split`` where it has parts; or a MONAI JSON datalist
            with ``training`` and, where there are any, ``validation`` and ``test``.
        phantom_dir: where the phantom is generated on first use.
        seed: of the split.
        group_column: the table's column of the patient or slide. Default: ``group``, where there is one. In folders,
            those between class and image.
        fractions: shares of training, validation and test, where the data are split here.
        class_names: the classes in the order of their labels. Default: those found, numbers first, as numbers.
        check: whether to look at every file. Without, only headers are read, and what is split here, to keep images
            that show the same together.
        pixel_limit: most pixels of an image, or voxels of a volume; see :func:`image_transforms`.
        intensity_range: with which the images will be read: the check compares their values with it.
        trusted_dir: a folder of class folders with images whose labels are sure, of each class at least one; tables and
            lists can say so of training images by ``yes`` in a column, or key, ``trusted``. They come into no other
            part; images or patients that stand in another part, too, are errors (without a check: files and patients).

    Raises:
        ConfigurationError: a limit or a range that is none.
        DataError: naming what was found instead.
    """
    # Here: data_check reads files through this package.
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
        # Which images show the same must be known where a split could put them into two parts.
        split = [] if str(dataset_dir) == "" or all(map(parts.get, PARTS)) else parts["training"]
        twins, faults = find_twins([item["image"] for item in split], pixel_limit), tuple(listed)
    stop_or_warn(faults, path)
    whole = split_off(parts, fractions, seed, twins)
    trusted = parts.get("trusted", [])
    check_no_leakage({**whole, "trusted": trusted})
    unjudged = [name for label, name in enumerate(names) if label not in classes_in(trusted)] if trusted else []
    if unjudged or (str(trusted_dir) and not trusted):
        raise DataError(f"Expected trusted images of each class, found none of {', '.join(unjudged or names)}.")
    known = classes_in(whole["training"])
    absent = [name for label, name in enumerate(names) if label not in known]
    if absent and len(whole["training"]) < len(parts["training"]):
        logger.warning(
            "There are too few images to split: training has no image of %s. Provide validation and test yourself.",
            absent,
        )
    dims, channels = image_kind(item["image"] for items in (*whole.values(), trusted) for item in items)
    return LabeledData(whole["training"], whole["validation"], whole["test"], names, dims, channels, trusted)


def image_kind(paths: Iterable[str]) -> tuple[int, int]:
    """Return the dimensions and the channels of all images by their headers: 3 where one image has colors.

    Raises:
        DataError: a header that cannot be read, images and volumes, volumes of different channels.
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
