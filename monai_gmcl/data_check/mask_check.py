# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of every image and mask of a data set, for ``validate`` and before training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import check_pixel_limit
from monai_gmcl.data.intensities import check_intensity_range
from monai_gmcl.data.listing import Item
from monai_gmcl.data.mask_files import check_mask_values
from monai_gmcl.data.mask_parts import list_mask_parts
from monai_gmcl.data_check.file_rules import file_faults, link_faults, value_faults
from monai_gmcl.data_check.looks import Look, each_file, look_at_all
from monai_gmcl.data_check.mask_looks import MaskLook, class_numbers, look_at_mask, mask_faults, pair_faults
from monai_gmcl.data_check.part_rules import class_faults, group_faults, split_faults, twin_faults
from monai_gmcl.data_check.report import Report
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["MaskDataSet", "look_over_masks"]

Parts = Mapping[str, Sequence[Item]]


class MaskDataSet(NamedTuple):
    """A data set of images with masks on disk, with the results of the check.

    Attributes:
        class_names: class names in the order of the labels; the first is the background.
        mask_values: values of the classes in the masks.
        classes: for each mask path, 1 for each class in the mask, otherwise 0.
    """

    parts: Mapping[str, list[Item]]
    class_names: list[str]
    mask_values: list[int]
    report: Report
    twins: Mapping[str, Hashable]
    classes: Mapping[str, list[float]]


def look_over_masks(
    source: str | Path,
    group_column: str | None = None,
    class_names: Sequence[str] | None = None,
    mask_values: Sequence[int] | None = None,
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
    bar_after: float = 0.0,
    whole: bool = True,
    trusted_dir: str | Path = "",
) -> MaskDataSet:
    """List a data set of images with masks, and check every file.

    Masks are checked and, with ``whole``, images, with the ``intensity_range`` of the training. Files with more than
    ``pixel_limit`` pixels or voxels are faults. A progress bar appears after ``bar_after`` seconds. The other arguments
    are those of :func:`monai_gmcl.open_segmentation_data`.

    Raises:
        ConfigurationError: an invalid limit, range or value, or different numbers of names and values.
    """
    check_pixel_limit(pixel_limit)
    intensity_range = check_intensity_range(intensity_range)
    listed: list[Fault] = []
    parts, told = list_mask_parts(source, group_column, listed.append, trusted_dir)
    items = [item for part in parts.values() for item in part]
    seen = each_file([item["label"] for item in items], lambda path: look_at_mask(path, pixel_limit), bar_after)
    masks = {path: mask for path, mask in seen.items() if isinstance(mask, MaskLook)}
    training = [masks[item["label"]] for item in parts["training"] if item["label"] in masks]
    names, numbers = _classes(training, class_names or told, mask_values)
    named = bool(class_names or told or mask_values)
    classes = {path: [float(number in mask.values) for number in numbers] for path, mask in masks.items()}
    found = look_at_all([item["image"] for item in items] if whole else [], pixel_limit, bar_after)
    looks = {path: look for path, look in found.items() if isinstance(look, Look)}
    twins = {path: look.twin(path) for path, look in looks.items()}
    faults = [
        *listed,
        *(look for look in [*found.values(), *seen.values()] if isinstance(look, Fault)),
        *file_faults(looks),
        *value_faults(looks, intensity_range),
        *(values := mask_faults(masks, numbers, named)),
        *pair_faults(items, looks, masks),
        *twin_faults(_labeled_by_twins(parts, masks), looks),
        *group_faults(parts),
        *link_faults(
            [*found, *seen],
            Path(source) if Path(source).is_dir() else Path(source).parent,
        ),
    ]
    # Where values stand for no class, it is they that are missing, not images of a class.
    if masks and not {"unknown_value", "many_values"} & {fault.kind for fault in values}:
        faults += class_faults(_labeled_by_classes(parts, classes), names, str(source))
    if whole:
        faults += split_faults({part: list(each) for part, each in parts.items()}, twins, str(source))
    return MaskDataSet(parts, names, numbers, Report.of(str(source), len(items), faults), twins, classes)


def _classes(
    training: Sequence[MaskLook], class_names: Sequence[str] | None, mask_values: Sequence[int] | None
) -> tuple[list[str], list[int]]:
    """Return the names of the classes and their values in masks."""
    if mask_values is not None:
        numbers = check_mask_values(mask_values)
    else:
        numbers = class_numbers([value for mask in training for value in mask.values], class_names)
        numbers = numbers if len(numbers) > 1 else [0, 1]
    if class_names is None:
        others = ["foreground"] if len(numbers) == 2 else [str(number) for number in numbers[1:]]
        return ["background", *others], numbers
    if len(class_names) != len(numbers):
        raise ConfigurationError(
            f"Expected a name for each of the values {numbers}, the background included, got {list(class_names)}."
        )
    return [str(name) for name in class_names], numbers


def _labeled_by_twins(parts: Parts, masks: Mapping[str, MaskLook]) -> dict[str, list[Item]]:
    """Return items whose label is the first path of an equal mask."""
    first: dict[bytes, str] = {}
    return {
        part: [
            {**item, "label": first.setdefault(masks[item["label"]].digest, item["label"])}
            for item in items
            if item["label"] in masks
        ]
        for part, items in parts.items()
    }


def _labeled_by_classes(parts: Parts, classes: Mapping[str, list[float]]) -> dict[str, list[Item]]:
    """Return items whose label is 1 for each class in the mask, otherwise 0."""
    return {
        part: [{**item, "label": classes[item["label"]]} for item in items if item["label"] in classes]
        for part, items in parts.items()
    }
