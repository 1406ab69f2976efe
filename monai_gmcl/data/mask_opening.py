# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Opening a data set of images with masks in three parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import stop_or_warn
from monai_gmcl.data.listing import Item
from monai_gmcl.data.mask_phantom import make_mask_phantom
from monai_gmcl.data.opening import LabeledData, image_kind
from monai_gmcl.data.part_names import PARTS
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
    """Open images with masks that the user has, or the phantom with masks.

    Masks are PNG, TIFF or NIfTI with a whole number for each pixel. Every file is looked at first, by the code of
    ``python -m monai_gmcl validate``: what has errors there is refused here, and warnings are logged. Parts that are
    given are kept; what is missing of validation and test is split off training by seed, with the classes shared out
    evenly, and never images of one patient or slide, or that show the same, into two parts.

    Args:
        dataset_dir: empty for the phantom; a folder with ``images`` and ``labels`` (or ``masks``), or with ``train``,
            ``valid`` and ``test``, each of these two; a folder with ``imagesTr`` and ``labelsTr``, as the Medical
            Segmentation Decathlon and nnU-Net have it; a CSV table or a MONAI JSON datalist whose column, or key,
            ``label`` has the paths of masks.
        phantom_dir: where the phantom is generated on first use.
        seed: of the split.
        group_column: the table's column of the patient or slide. Default: ``group``, where there is one. In folders,
            those among the images.
        fractions: shares of training, validation and test, where the data are split here.
        class_names: the classes, the background first, in the order of ``mask_values``. Default: those of
            ``dataset.json``, where there is one, or names made of the numbers.
        mask_values: the numbers in the masks that stand for the classes. Default: 0 and 255 where there are no others,
            or 0, 1, 2, ...
        check: whether to look at every image. Masks are looked at in any case: they say which classes there are.
        pixel_limit: most pixels of an image, or voxels of a volume; see :func:`image_transforms`.
        intensity_range: with which the images will be read: the check compares their values with it.
        trusted_dir: a folder of images and masks that are sure, with each class in one of them at least; tables and
            lists can say so of training images by ``yes`` in a column, or key, ``trusted``. They come into no other
            part, as in :func:`monai_gmcl.data.open_data`.

    Returns:
        Items have ``image`` and ``label``, the paths of image and mask, as ``image_transforms(mask_key="label")`` takes
        them.

    Raises:
        ConfigurationError: a limit, a range or values that are none.
        DataError: naming what was found instead.
    """
    # Here: data_check reads files through this package.
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
    whole = {part: _with_masks(items) for part, items in split_off(rows, fractions, seed, twins).items()}
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
    """Items labeled with the classes that their masks have, by which a split shares them out."""
    return [{**item, "label": classes[item["label"]], "mask": item["label"]} for item in items]


def _with_masks(items: Sequence[Item]) -> list[Item]:
    return [{key: item["mask" if key == "label" else key] for key in item if key != "mask"} for item in items]
