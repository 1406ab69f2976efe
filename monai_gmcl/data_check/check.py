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
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_gmcl.data.class_folders import Item
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import check_pixel_limit
from monai_gmcl.data.opening import LabeledData
from monai_gmcl.data.parts import list_parts
from monai_gmcl.data_check.file_rules import file_faults, link_faults
from monai_gmcl.data_check.looks import Look, look_at_all
from monai_gmcl.data_check.part_rules import class_faults, group_faults, twin_faults
from monai_gmcl.data_check.report import Report

__all__ = ["check_data", "check_parts", "check_source"]

logger = logging.getLogger(__name__)


def check_source(
    source: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    pixel_limit: int | None = None,
) -> Report:
    """Look at every file of a data set as it stands on disk, and report every fault at once.

    Args:
        source: a folder with ``train``, ``valid`` and ``test``, a folder of class folders, a CSV table or a MONAI JSON
            datalist, as for :func:`monai_gmcl.data.open_data`.
        group_column: the CSV table's column of the patient or slide.
        class_names: the classes in the order of their labels. Default: those found.
        pixel_limit: most pixels of an image, or voxels of a volume. Default: 2**26; 2**29 for volumes.

    Raises:
        ConfigurationError: a limit that is no count of pixels.
    """
    listed: list[Fault] = []
    parts, names = list_parts(source, group_column, class_names, listed.append)
    return check_parts(parts, names, source, pixel_limit, listed)


def check_parts(
    parts: Mapping[str, Sequence[Item]],
    class_names: Sequence[str],
    source: str | Path,
    pixel_limit: int | None = None,
    listed: Sequence[Fault] = (),
) -> Report:
    """Look at every file of a data set that is listed already, and report every fault at once.

    Args:
        parts: items with ``image`` (path), ``label`` (a class, or a list of 0 and 1) and, where known, ``group``, by
            the part's name: ``training`` and others.
        class_names: in the order of the labels.
        source: the folder or table that they come from.
        pixel_limit: most pixels of an image, or voxels of a volume. Default: 2**26; 2**29 for volumes.
        listed: faults that listing them found.

    Raises:
        ConfigurationError: a limit that is no count of pixels.
    """
    check_pixel_limit(pixel_limit)
    found = look_at_all([item["image"] for items in parts.values() for item in items], pixel_limit)
    looks = {path: look for path, look in found.items() if isinstance(look, Look)}
    classes = class_faults(parts, class_names, str(source))
    if {"empty_class", "layout", "missing"} & {fault.kind for fault in listed}:
        # told of already, by the folder's or the file's own path
        classes = [fault for fault in classes if fault.kind not in ("empty_class", "absent_class")]
    faults = [
        *listed,
        *(look for look in found.values() if isinstance(look, Fault)),
        *file_faults(looks),
        *twin_faults(parts, looks),
        *group_faults(parts),
        *classes,
        *link_faults(found, Path(source) if Path(source).is_dir() else Path(source).parent),
    ]
    return Report.of(str(source), len(found), faults)


def check_data(data: LabeledData, source: str | Path = "", pixel_limit: int | None = None) -> Report:
    """Look at every file before a training: all faults are logged as a table, and errors raise.

    Args:
        data: as :func:`monai_gmcl.data.open_data` returns them, split.
        source: the folder or table that they were opened from. Default: the folder that holds all images.
        pixel_limit: most pixels of an image, or voxels of a volume. Default: 2**26; 2**29 for volumes.

    Raises:
        ConfigurationError: a limit that is no count of pixels.
        DataError: naming the first few faulty files, and how many there are.
    """
    parts = {"training": data.training, "validation": data.validation, "test": data.test}
    folders = [Path(item["image"]).parent for items in parts.values() for item in items]
    report = check_parts(parts, data.class_names, source or os.path.commonpath(folders), pixel_limit)
    if report.faults:
        # the whole table: of the error below, a bundle's user sees the first lines, and those under a traceback
        logger.log(logging.ERROR if report.errors else logging.WARNING, "data check\n%s", report.table())
    report.stop()
    return report
