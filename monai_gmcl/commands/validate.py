# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl validate``: checks every file of a data set and reports all problems in one table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from json import dumps

from monai_gmcl.data.intensities import check_intensity_range
from monai_gmcl.data_check.check import check_source
from monai_gmcl.exceptions import DataError

__all__ = ["validate"]


def validate(
    data_dir: str,
    group_column: str | None = None,
    class_names: str | Sequence[str] | None = None,
    pixel_limit: int | None = None,
    intensity_range: Sequence[float] | None = None,
    json: bool = False,
) -> None:
    """Check every file of a data set, and print all problems in one table: file, problem, what to do.

    The exit code is 1 if there are errors, with which a training would stop or give wrong results. Warnings do not
    change the exit code.

    Args:
        data_dir: a folder with train, valid and test; a folder of class folders; a CSV table; or a MONAI JSON datalist.
        group_column: column of the table with the patient or slide. Default: ``group``, if the table has it.
        class_names: class names in the order of their labels. Other labels are errors. Default: the labels of the data.
        pixel_limit: highest accepted number of pixels or voxels. Default: 2**26 pixels of an image, 2**29 voxels of a
            volume.
        intensity_range: range of file values with which the images will be read, such as ``(0, 4095)``. The values of
            the files are compared with it.
        json: print JSON with an entry for each file instead of a table.

    Raises:
        ConfigurationError: pixel_limit or intensity_range is invalid.
        DataError: the data set has errors.
    """
    names = [class_names] if isinstance(class_names, str) else class_names
    with warnings.catch_warnings():
        # messages of Pillow and nibabel about files that the table reports
        warnings.simplefilter("ignore")
        report = check_source(
            str(data_dir),
            None if group_column is None else str(group_column),
            names and [str(name) for name in names],
            pixel_limit,
            check_intensity_range(intensity_range),
        )
    print(dumps(report.to_json(), indent=1) if json else report.table())
    if report.errors:
        raise DataError(f"{len(report.errors):,} of the problems above are errors. Correct them before training.")
