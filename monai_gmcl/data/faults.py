# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of faults in a user's data, for the errors of readers and for the table of the data check."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from monai_gmcl.exceptions import DataError
from monai_gmcl.ranks import Ranks

__all__ = ["KINDS", "Fault", "OnFault", "alike", "ignore", "stop", "stop_at_errors", "stop_or_warn", "tell"]

logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind of fault: whether it is an error, the remedy, and whether one line can report several files."""

    is_error: bool
    remedy: str
    in_one_line: bool = False


KINDS: dict[str, Kind] = {
    "missing": Kind(True, "correct the path, or copy the file to it", in_one_line=True),
    "layout": Kind(True, "give each class a folder of images, with the same names in every part"),
    "not_an_image": Kind(True, "remove the file, or save it as PNG, JPEG, TIFF or NIfTI", in_one_line=True),
    "dicom": Kind(
        True,
        "put each series into its own folder and pip install 'monai_gmcl[dicom]', or convert it to NIfTI with "
        "dcm2niix; convert a single image to PNG with dcmj2pnm",
        in_one_line=True,
    ),
    "series": Kind(True, "put each complete series into its own folder, or convert it to NIfTI with dcm2niix"),
    "table": Kind(True, "correct the table"),
    "row": Kind(True, "correct or remove the row"),
    "label": Kind(True, "correct the label, or remove the row"),
    "group": Kind(True, "fill in the patient or slide"),
    "empty_file": Kind(True, "copy the file again, or remove it"),
    "truncated": Kind(True, "copy the file again, or remove it"),
    "unreadable": Kind(True, "save the file again as PNG, JPEG, TIFF or NIfTI, or remove it"),
    "pixel_limit": Kind(True, "remove the image or make it smaller; if you trust it, raise pixel_limit"),
    "pixel_type": Kind(True, "save images with 8 or 16 bits, and volumes with colors as channels along a fourth axis"),
    "pages": Kind(True, "save each page as its own file"),
    "not_finite": Kind(True, "replace these values, or remove the file"),
    "channels": Kind(True, "save all volumes with the same channels"),
    "dimensions": Kind(True, "put images and volumes into separate data sets"),
    "empty_class": Kind(True, "add images, or remove the class"),
    "leak": Kind(True, "keep the image in one part only"),
    "too_few": Kind(True, "add images, or provide validation and test yourself"),
    "group_leak": Kind(True, "keep all images of a patient or slide in one part"),
    "two_labels": Kind(True, "keep the image with its correct label only"),
    "layout_of_masks": Kind(True, "put masks into a folder 'labels' next to 'images', each with the name of its image"),
    "no_mask": Kind(
        True,
        "give the mask the name of its image (001.png, or 001_mask.png), or move the image to a folder of unlabeled "
        "images",
        in_one_line=True,
    ),
    "no_image": Kind(True, "give the mask the name of its image, or remove the mask", in_one_line=True),
    "several_channels": Kind(True, "save the channels in one file: RGB, or NIfTI with a fourth axis", in_one_line=True),
    "mask_channels": Kind(True, "save one value for each pixel; create overlapping channels in a transform"),
    "mask_format": Kind(True, "export the mask again as PNG, TIFF or NIfTI"),
    "mask_colors": Kind(True, "save class values in one channel"),
    "mask_size": Kind(True, "save image and mask with the same size"),
    "mask_geometry": Kind(True, "save the mask with the affine of its image"),
    "ignored_class": Kind(
        True,
        "rename it in a copy of the file if the student should predict it; pixels without a label need a script with "
        "a loss that has an ignore_index",
    ),
    "many_values": Kind(
        True, "check that this is a mask, not an image; name so many classes (class_names)", in_one_line=True
    ),
    "unknown_value": Kind(True, "correct the mask, or give the values of the classes as mask_values"),
    "absent_class": Kind(False, "add images; no metric can be computed for this class in this part"),
    "single_image": Kind(False, "add images; training and validation need different images of each class"),
    "similar_names": Kind(False, "use one name if they are the same class, patient or slide"),
    "stray": Kind(False, "move it into a class folder or a part; it is not read"),
    "unread_list": Kind(False, "it is not read; to use it, name it as a part and give its images labels"),
    "unread_column": Kind(False, "it is not read; to use it, correct it"),
    "joined": Kind(False, "they are read as the same name; write them alike, or use different names if they differ"),
    "intensities": Kind(False, "set intensity_range to the relevant range, such as (low, high) of all images"),
    "wrong_suffix": Kind(False, "rename the file; it is read by its content"),
    "pixel_mix": Kind(False, "all images are converted to the same type; check whether they belong together"),
    "transparent": Kind(False, "it is read on a white background; if that is wrong, save it without transparency"),
    "size": Kind(False, "check the image; crop or resize in training (image_crop, image_size)"),
    "constant": Kind(False, "check the image; remove it if it shows nothing"),
    "palette": Kind(False, "palette indices are read as classes; if that is wrong, save the mask without a palette"),
    "empty_mask": Kind(False, "check the mask; all of its pixels are background"),
    "mask_twice": Kind(False, "check the paths: each image needs the mask of its own pixels", in_one_line=True),
    "duplicate": Kind(False, "keep one copy; the image counts twice, and a split keeps both copies in one part"),
    "outside": Kind(False, "copy the file into the folder, or check that the link is intended"),
}
"""Kinds of faults by name, errors first; ``python -m monai_gmcl validate --json`` prints the names."""


@dataclass(frozen=True)
class Fault:
    """A fault of one file, row or folder.

    Attributes:
        kind: a key of :data:`KINDS`.
        file: path of the file or folder.
        expected: the expected content.
        found: the actual content.
        row: row of the table ``file``: line of a CSV table (the header is 1), or entry of a JSON list (from 1).
    """

    kind: str
    file: str
    expected: str
    found: str
    row: int | None = None

    @property
    def is_error(self) -> bool:
        """Whether the fault is an error, which stops a training run."""
        return KINDS[self.kind].is_error

    @property
    def remedy(self) -> str:
        """The remedy."""
        return KINDS[self.kind].remedy

    def error(self) -> DataError:
        """Return an error with a message of one line."""
        if self.kind == "missing" and self.row is None:
            return DataError(f"Expected {self.expected}, found {self.found} {self.file!r}.")
        place = repr(self.file) if self.row is None else f"row {self.row} of {self.file!r}"
        return DataError(f"Expected {self.expected} in {place}, found {self.found}.")


OnFault = Callable[[Fault], None]
"""Function that a reader calls for each fault. If it returns, the reader skips the faulty entry and continues."""


def stop(fault: Fault) -> None:
    """Raise if the fault is an error; ignore warnings."""
    if fault.is_error:
        raise fault.error()


def ignore(fault: Fault) -> None:
    """Ignore a fault, while the kind of a data set is determined, or of what is reported as a whole."""


def alike(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Group faults that one line can report: the same content in several files, or several missing files."""
    groups: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        found = () if KINDS[fault.kind].in_one_line else (fault.found,)
        groups.setdefault((fault.kind, fault.expected, *found), []).append(fault)
    return list(groups.values())


def tell(same: Sequence[Fault]) -> str:
    """Return one line with the first of the faults that are :func:`alike`, the remedy and the number of faults."""
    first, *more = same
    told = f"{first.error()} {first.remedy[0].upper()}{first.remedy[1:]}."
    return told + (f" {len(more):,} more with the same problem." if more else "")


def stop_at_errors(faults: Sequence[Fault], source: str | Path = "") -> None:
    """Raise the first error, with the number of errors; ignore warnings. ``validate`` reports all faults."""
    errors = alike(fault for fault in faults if fault.is_error)
    if not errors:
        return
    told = tell(errors[0])
    others = sum(map(len, errors[1:]))
    if others:
        told += f" {others:,} other errors" + (f": see python -m monai_gmcl validate {source}" if str(source) else ".")
    raise DataError(told)


def stop_or_warn(faults: Sequence[Fault], source: str | Path = "") -> None:
    """Raise the first error as in :func:`stop_at_errors`; without errors, the first rank logs the warnings."""
    stop_at_errors(faults, source)
    if faults and Ranks().index == 0:
        for same in alike(faults):
            logger.warning(tell(same))
