# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of a data set: reads every file once and reports all problems."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import check_pixel_limit
from monai_gmcl.data.intensities import check_intensity_range
from monai_gmcl.data.listing import Item
from monai_gmcl.data.mask_parts import has_masks
from monai_gmcl.data.opening import LabeledData
from monai_gmcl.data.parts import list_parts
from monai_gmcl.data_check.file_rules import file_faults, link_faults, value_faults
from monai_gmcl.data_check.looks import Look, look_at_all
from monai_gmcl.data_check.mask_check import look_over_masks
from monai_gmcl.data_check.part_rules import class_faults, group_faults, split_faults, twin_faults
from monai_gmcl.data_check.report import Report

__all__ = ["DataSet", "check_data", "check_parts", "check_source", "look_over"]

logger = logging.getLogger(__name__)


class DataSet(NamedTuple):
    """A data set on disk, with the results of the check.

    Attributes:
        parts: items by split: ``training`` and, if they exist, ``validation``, ``test`` and ``trusted``.
        class_names: class names in the order of the labels.
        report: all faults.
        twins: a key for each path that is equal for identical images.
    """

    parts: Mapping[str, list[Item]]
    class_names: list[str]
    report: Report
    twins: Mapping[str, Hashable]


def look_over(
    source: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
    bar_after: float = 0.0,
    trusted_dir: str | Path = "",
) -> DataSet:
    """List a data set and check every file, for ``validate`` and for :func:`open_data`.

    Arguments are those of :func:`check_source`, a folder of trusted images, and the time in seconds after which a
    progress bar is shown.
    """
    listed: list[Fault] = []
    parts, names = list_parts(source, group_column, class_names, listed.append, trusted_dir)
    return _looked_at(parts, names, source, pixel_limit, listed, intensity_range, False, bar_after)


def check_source(
    source: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
) -> Report:
    """Check every file of a data set on disk, and report all problems.

    :func:`monai_gmcl.data.open_data` opens a data set if and only if this check finds no errors.

    Args:
        source: a folder with ``train``, ``valid`` and ``test``, a folder of class folders, a CSV table or a MONAI JSON
            datalist, as for :func:`monai_gmcl.data.open_data`; or images with masks, as for
            :func:`monai_gmcl.data.open_segmentation_data`.
        group_column: column of the table with the patient or slide. Default: ``group``, if the table has this column.
        class_names: the classes in the order of their labels. Default: the classes of the data.
        pixel_limit: largest number of pixels of an image (default: 2**26), or of voxels of a volume (default: 2**29).
        intensity_range: range with which the images will be read; see :func:`monai_gmcl.data.image_transforms`.

    Raises:
        ConfigurationError: a wrong limit or range.
    """
    look = look_over_masks if has_masks(source) else look_over
    return look(source, group_column, class_names, pixel_limit=pixel_limit, intensity_range=intensity_range).report


def check_parts(
    parts: Mapping[str, Sequence[Item]],
    class_names: Sequence[str],
    source: str | Path,
    pixel_limit: int | None = None,
    listed: Sequence[Fault] = (),
    intensity_range: tuple[float, float] | None = None,
) -> Report:
    """Check every file of a listed data set, and report all problems.

    Args:
        parts: items with ``image`` (path), ``label`` (a class, or a list of 0 and 1) and, if known, ``group``, by the
            name of the split: ``training`` and others.
        class_names: class names in the order of the labels.
        source: folder or table of the items.
        pixel_limit: largest number of pixels of an image (default: 2**26), or of voxels of a volume (default: 2**29).
        listed: faults that were found when the items were listed.
        intensity_range: range with which the images will be read.

    Raises:
        ConfigurationError: a wrong limit or range.
    """
    return _looked_at(parts, class_names, source, pixel_limit, listed, intensity_range).report


def check_data(
    data: LabeledData,
    source: str | Path = "",
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
) -> Report:
    """Check every file before training: all faults are logged as a table, and errors are raised.

    Args:
        data: data from :func:`monai_gmcl.data.open_data`.
        source: folder or table of the data. Default: the common folder of all images.
        pixel_limit: as for :func:`check_parts`.
        intensity_range: range with which the images will be read.

    Raises:
        ConfigurationError: a wrong limit or range.
        DataError: there are errors; the message names the first few files and the number of errors.
    """
    parts = {"training": data.training, "validation": data.validation, "test": data.test}
    folders = [Path(item["image"]).parent for items in parts.values() for item in items]
    report = check_parts(
        parts, data.class_names, source or os.path.commonpath(folders), pixel_limit, (), intensity_range
    )
    # the complete table is logged, because the error below shows only its first lines, after a traceback
    report.log(logger)
    report.stop()
    return report


def _looked_at(
    parts: Mapping[str, Sequence[Item]],
    class_names: Sequence[str],
    source: str | Path,
    pixel_limit: int | None,
    listed: Sequence[Fault],
    intensity_range: tuple[float, float] | None,
    whole: bool = True,
    bar_after: float = 0.0,
) -> DataSet:
    """Check every file and, if splits are missing, whether they can be drawn from the training images."""
    check_pixel_limit(pixel_limit)
    intensity_range = check_intensity_range(intensity_range)
    found = look_at_all([item["image"] for items in parts.values() for item in items], pixel_limit, bar_after)
    looks = {path: look for path, look in found.items() if isinstance(look, Look)}
    twins = {path: look.twin(path) for path, look in looks.items()}
    classes = class_faults(parts, class_names, str(source))
    if {"empty_class", "layout", "missing", "dicom", "not_an_image"} & {fault.kind for fault in listed}:
        # already reported by the path of the folder or file
        classes = [fault for fault in classes if fault.kind not in ("empty_class", "absent_class")]
    faults = [
        *listed,
        *(look for look in found.values() if isinstance(look, Fault)),
        *file_faults(looks),
        *value_faults(looks, intensity_range),
        *twin_faults(parts, looks),
        *group_faults(parts),
        *classes,
        *link_faults(found, Path(source) if Path(source).is_dir() else Path(source).parent),
        *([] if whole else split_faults(parts, twins, str(source))),
    ]
    kept = {part: list(items) for part, items in parts.items()}
    return DataSet(kept, list(class_names), Report.of(str(source), len(found), faults), twins)
