# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Opening a data set of images with masks in three splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import stop_or_warn
from monai_gmcl.data.listing import Item
from monai_gmcl.data.mask_phantom import make_mask_phantom
from monai_gmcl.data.opening import LabeledData, image_kind
from monai_gmcl.data.part_lists import PARTS
from monai_gmcl.data.splits import check_no_leakage, split_off

__all__ = ["open_segmentation_data"]


def open_segmentation_data(
    dataset_dir: str | Path = "",
    phantom_dir: str | Path = "mask_phantom",
    seed: int = 0,
    group_column: str | None = None,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    class_names: Sequence[str] | None = None,
    mask_values: Sequence[int] | None = None,
    check: bool = True,
    pixel_limit: int | None = None,
    intensity_range: tuple[float, float] | None = None,
    trusted_dir: str | Path = "",
) -> LabeledData:
    """Open a data set of images with masks, or the phantom with masks.

    Masks are PNG, TIFF or NIfTI files with one integer for each pixel. Every file is checked first, as in ``python -m
    monai_gmcl validate``. Errors are raised, and warnings are logged. Existing splits are kept. Missing validation and
    test images are drawn at random from the training images, by seed and with similar class frequencies. Images of one
    patient or slide, and identical images, are always in one split.

    Args:
        dataset_dir: a folder with ``images`` and ``labels`` (or ``masks``); a folder with ``train``, ``valid`` and
            ``test``, each with these two folders; a folder with ``imagesTr`` and ``labelsTr``, as in the Medical
            Segmentation Decathlon and nnU-Net; a CSV table or a MONAI JSON datalist whose column, or key, ``label`` has
            the paths of masks. Empty: the phantom.
        phantom_dir: folder in which the phantom is drawn on first use.
        seed: seed of the split.
        group_column: column of the table with the patient or slide. Default: ``group``, if the table has this column.
            In folders, subfolders are patients.
        fractions: fractions of training, validation and test images, if splits are missing.
        class_names: the classes, the background first, in the order of ``mask_values``. Default: the classes in
            ``dataset.json``, if it exists, or names made from the numbers.
        mask_values: the values of the classes in the masks. Default: 0 and 255 if there are no other values, otherwise
            0, 1, 2, ...
        check: whether to check every image. Masks are always checked, because they determine the classes.
        pixel_limit: largest number of pixels of an image, or of voxels of a volume; see :func:`image_transforms`.
        intensity_range: range with which the images will be read; the check compares the values of images with it.
        trusted_dir: a folder of images with checked masks; each class must occur in at least one mask. Alternatively,
            training images in tables and lists are marked by ``yes`` in the column, or key, ``trusted``. Trusted images
            are in no other split, as in :func:`monai_gmcl.data.open_data`.

    Returns:
        Data whose items have ``image`` and ``label``, the paths of image and mask, for
        ``image_transforms(mask_key="label")``.

    Raises:
        ConfigurationError: a wrong limit, range or list of values.
        DataError: the data set has errors; the message names the first one.
    """
    # Imported here, because data_check imports this package.
    from monai_gmcl.data_check.looks import find_twins
    from monai_gmcl.data_check.mask_check import look_over_masks

    own = str(dataset_dir) != ""
    path = Path(str(dataset_dir)) if own else make_mask_phantom(phantom_dir)
    names = [class_names] if isinstance(class_names, str) else class_names
    rest = pixel_limit, intensity_range, 1.0, check and own, trusted_dir
    looked = look_over_masks(path, group_column, names, mask_values, *rest)
    stop_or_warn(looked.report.faults, path)
    split = [] if all(map(looked.parts.get, PARTS)) or not own else looked.parts["training"]
    twins = looked.twins if check else find_twins([item["image"] for item in split], pixel_limit)
    rows = {part: _with_classes(items, looked.classes) for part, items in looked.parts.items()}
    whole = {
        part: [{key: item["mask" if key == "label" else key] for key in item if key != "mask"} for item in items]
        for part, items in split_off(rows, fractions, seed, twins).items()
    }
    trusted = looked.parts.get("trusted", [])
    check_no_leakage({**whole, "trusted": trusted})
    dims, channels = image_kind(item["image"] for items in (*whole.values(), trusted) for item in items)
    return LabeledData(
        **whole,
        class_names=looked.class_names,
        spatial_dims=dims,
        channels=channels,
        trusted=trusted,
        mask_values=looked.mask_values,
    )


def _with_classes(items: Sequence[Item], classes: Mapping[str, Any]) -> list[Item]:
    """Return items with the classes in their masks as labels, for a split with similar class frequencies."""
    return [{**item, "label": classes[item["label"]], "mask": item["label"]} for item in items]
