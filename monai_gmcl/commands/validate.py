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

    Errors end the command with exit code 1: a training would stop at them, or be wrong. Warnings do not.

    Args:
        data_dir: a folder with train, valid and test; a folder of class folders; a CSV table; a MONAI JSON datalist.
        group_column: the table's column of the patient or slide. Default: ``group``, where there is one.
        class_names: the classes in the order of their labels; other labels are errors. Default: those found.
        pixel_limit: most pixels of an image, or voxels of a volume. Default: 2**26; 2**29 for volumes.
        intensity_range: with which the images will be read, as (0, 4095): their values are compared with it.
        json: print JSON, file by file, instead of a table.

    Raises:
        ConfigurationError: a limit that is no count of pixels, a range that is none.
        DataError: there are errors.
    """
    names = [class_names] if isinstance(class_names, str) else class_names
    with warnings.catch_warnings():
        # Pillow's and nibabel's words on files that the table tells of
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
        raise DataError(f"{len(report.errors):,} of the problems above are errors: a training would stop or be wrong.")
