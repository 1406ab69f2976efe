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

logger = logging.getLogger(__name__)


class DataSet(NamedTuple):
    """A data set as it stands on disk, looked at.

    Attributes:
        parts: items by part; ``training`` and, where there are any, ``validation``, ``test`` and ``trusted``.
        class_names: in the order of the labels.
        report: all faults.
        twins: of each path, something equal for files that show the same.
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
    """List a data set and look at every file: what ``validate`` reports and what :func:`open_data` opens.

    Arguments are those of :func:`check_source`, a folder of trusted images, and the seconds until a progress bar.
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

    A data set without errors is one that :func:`monai_gmcl.data.open_data` opens, and the other way round.

    Args:
        source: a folder with ``train``, ``valid`` and ``test``, a folder of class folders, a CSV table or a MONAI JSON
            datalist, as for :func:`monai_gmcl.data.open_data`; or images with masks, as for
            :func:`monai_gmcl.data.open_segmentation_data`.
        group_column: the table's column of the patient or slide. Default: ``group``, where there is one.
        class_names: the classes in the order of their labels. Default: those found.
        pixel_limit: most pixels of an image, or voxels of a volume. Default: 2**26; 2**29 for volumes.
        intensity_range: with which the images will be read; see :func:`monai_gmcl.data.image_transforms`.

    Raises:
        ConfigurationError: a limit that is no count of pixels, a range that is none.
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
        parts: items with ``image`` (path), ``label`` (a class, or a list of 0 and 1) and, where known, ``group``, by
            the part's name: ``training`` and others.
        class_names: in the order of the labels.
        source: the folder or table that they come from.
        pixel_limit: most pixels of an image, or voxels of a volume. Default: 2**26; 2**29 for volumes.
        listed: faults that listing them found.
        intensity_range: with which the images will be read.

    Raises:
        ConfigurationError: a limit that is no count of pixels, a range that is none.
    """
    return _looked_at(parts, class_names, source, pixel_limit, listed, intensity_range).report


def check_data(
    data: LabeledData,
    source: str | Path = "",
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
) -> Report:
    """Look at every file before a training: all faults are logged as a table, and errors raise.

    Args:
        data: as :func:`monai_gmcl.data.open_data` returns them, split.
        source: the folder or table that they were opened from. Default: the folder that holds all images.
        pixel_limit: as for :func:`check_parts`.
        intensity_range: with which the images will be read.

    Raises:
        ConfigurationError: a limit that is no count of pixels, a range that is none.
        DataError: naming the first few faulty files, and how many there are.
    """
    parts = {"training": data.training, "validation": data.validation, "test": data.test}
    folders = [Path(item["image"]).parent for items in parts.values() for item in items]
    report = check_parts(
        parts, data.class_names, source or os.path.commonpath(folders), pixel_limit, (), intensity_range
    )
    # the whole table: of the error below, a bundle's user sees the first lines, and those under a traceback
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
    """Look at every file; where the data set is not whole, the parts that are missing must be there to split off."""
    check_pixel_limit(pixel_limit)
    intensity_range = check_intensity_range(intensity_range)
    found = look_at_all([item["image"] for items in parts.values() for item in items], pixel_limit, bar_after)
    looks = {path: look for path, look in found.items() if isinstance(look, Look)}
    twins = {path: look.twin(path) for path, look in looks.items()}
    classes = class_faults(parts, class_names, str(source))
    if {"empty_class", "layout", "missing", "dicom", "not_an_image"} & {fault.kind for fault in listed}:
        # told of already, by the folder's or the file's own path
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
