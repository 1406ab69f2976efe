# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Real images in the form of a teacher's input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from monai_gmcl.data.faults import ignore, stop_at_errors
from monai_gmcl.data.image_files import picture_channels
from monai_gmcl.data.listing import Item
from monai_gmcl.data.loading import image_transforms
from monai_gmcl.data.mask_parts import list_mask_parts
from monai_gmcl.data.parts import list_parts
from monai_gmcl.data_check.mask_check import look_over_masks
from monai_gmcl.exceptions import ConfigurationError, DataError, LabelError
from monai_gmcl.metrics import small_pixels
from monai_gmcl.teachers.base import Teacher

__all__ = ["RealImages", "Survey", "as_seen", "read_items", "read_masked_items"]


class Survey(NamedTuple):
    """Information about all real images from one pass.

    Attributes:
        pixels: reduced images ``(m, D)``, for comparisons.
        shapes: shape of each image.
        sha256: SHA-256 of all labels and files, in their order.
    """

    pixels: Tensor
    shapes: list[tuple[int, ...]]
    sha256: str


class RealImages(Dataset[dict[str, Any]]):
    """Labeled real images in the form of a teacher's input.

    Args:
        items: items with ``image`` (path) and ``label`` (for segmentation, the path of the mask).
        teacher: the teacher, which determines dimensions, channels, value range and normalization.
        crop: size of the center crop, in pixels.
        size: size to which images are resized, in pixels.
        intensity_range: the file values that are mapped to 0 and 1.
        spacing: voxel spacing to which NIfTI volumes are resampled, in millimeters.
        mask_values: values of the classes in masks. Default: labels are not masks.

    Raises:
        ConfigurationError: a teacher of 2-D images with channels other than 1 or 3, or a wrong spacing.
    """

    def __init__(
        self,
        items: list[Item],
        teacher: Teacher,
        crop: int | Sequence[int] | None = None,
        size: int | Sequence[int] | None = None,
        intensity_range: tuple[float, float] | None = None,
        spacing: float | Sequence[float] | None = None,
        mask_values: Sequence[int] | None = None,
    ) -> None:
        self.data = items
        """Labels are read here, without reading the images."""
        self.spatial_dims, self.channels = teacher.spatial_dims, teacher.in_channels
        self.value_range, self.mean, self.std = teacher.value_range, teacher.mean[0].cpu(), teacher.std[0].cpu()
        self.of_masks = mask_values is not None
        reading = self.spatial_dims, self.channels, crop, size, intensity_range
        self._read = image_transforms(*reading, spacing=spacing)
        self._read_both = (
            image_transforms(*reading, spacing=spacing, mask_key="label", mask_values=mask_values)
            if mask_values is not None
            else self._read
        )

    def __len__(self) -> int:
        return len(self.data)

    def seen(self, index: int) -> Tensor:
        """Return an image with values from 0 to 1."""
        image: Tensor = self._read({"image": self.data[index]["image"]})["image"]
        return image

    def __getitem__(self, index: int) -> dict[str, Any]:
        low, high = self.value_range
        item = self._read_both({key: self.data[index][key] for key in ("image", "label")})
        return {"image": (item["image"] * (high - low) + low - self.mean) / self.std, "label": item["label"]}

    def survey(self) -> Survey:
        """Read every image once, with a progress bar.

        Raises:
            DataError: a file cannot be read or has values that are not finite; the message names the first such file.
            ConfigurationError: images differ from the teacher in their channels.
        """
        digest = hashlib.sha256()
        pixels, shapes = [], []
        fitting = self.spatial_dims == 3
        for index, item in enumerate(tqdm(self.data, desc="real images", unit="image")):
            image = convert_to_tensor(self.seen(index), track_meta=False)
            if not bool(image.isfinite().all()):
                raise DataError(f"Expected finite values in {item['image']!r}, found NaN or infinity.")
            pixels.append(small_pixels(image[None]))
            shapes.append(tuple(image.shape))
            # for masks the content, not the path
            digest.update(Path(item["label"]).read_bytes() if self.of_masks else repr(item["label"]).encode())
            path = Path(item["image"])
            # A DICOM series is a folder.
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            digest.update(hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest())
            fitting = fitting or picture_channels(item["image"]) == self.channels
        if not fitting:
            first = self.data[0]["image"]
            raise ConfigurationError(
                f"The teacher was built for images of {self.channels} channel(s), and images of the source have "
                f"{picture_channels(first)}, such as {first!r}."
            )
        return Survey(torch.cat(pixels), shapes, digest.hexdigest())


def read_items(
    source: Path, num_classes: int, label_names: Sequence[str] | None, group_column: str | None = None
) -> tuple[list[Item], list[str]]:
    """List real images with labels for the teacher's ``num_classes`` classes, by default with the names in the source.

    The source is a folder of class folders, or a folder with a subfolder ``train`` of class folders; a CSV table, whose
    ``group_column`` has the patient or slide; or a MONAI JSON datalist. Returns items with ``image``, ``label`` and, if
    known, ``group``; and a name for each label. Raises DataError, and LabelError for other classes than the teacher's.
    """
    if not source.is_dir() and source.suffix.lower() not in (".csv", ".tsv", ".json"):
        raise DataError(
            f"Expected a folder of class folders, a .csv table or a .json datalist as source, found {str(source)!r}."
        )
    parts, found = list_parts(source, group_column)
    items = parts["training"]
    if isinstance(items[0]["label"], list):
        return items, list(label_names or found)
    names = list(label_names) if label_names is not None else None
    if names is not None and set(found) <= set(names):
        labels = [names.index(name) for name in found]
    elif all(name.isdecimal() and int(name) < num_classes for name in found):
        labels = [int(name) for name in found]
        names = names or [str(label) for label in range(num_classes)]
    elif names is None and len(found) == num_classes:
        labels, names = list(range(num_classes)), found
    else:
        wanted = f"{num_classes} classes" + (f" ({', '.join(names)})" if names is not None else "")
        raise LabelError(
            f"The teacher was built for {wanted}, found {len(found)} in {str(source)!r}: {', '.join(found)}."
        )
    return [{**item, "label": labels[item["label"]]} for item in items], names


def read_masked_items(
    source: Path,
    num_classes: int,
    label_names: Sequence[str] | None,
    group_column: str | None = None,
    mask_values: Sequence[int] | None = None,
) -> tuple[list[Item], list[str], list[int]]:
    """List real images with masks of the teacher's ``num_classes`` classes, the background included.

    Arguments are those of :func:`monai_gmcl.open_segmentation_data`; the training images of the source are used.
    Returns items with ``image``, ``label`` (the mask's path) and, if known, ``group``; the class names; and the values
    of the classes in the masks. Raises DataError, and LabelError for other classes than the teacher's.
    """
    told = list_mask_parts(source, group_column, ignore)[1]
    names = told or label_names
    looked = look_over_masks(source, group_column, names, mask_values, bar_after=1.0, whole=False)
    stop_at_errors(looked.report.faults, source)
    found = looked.class_names
    if len(found) != num_classes or (told and label_names and told != list(label_names)):
        wanted = f"{num_classes} classes" + (f" ({', '.join(label_names)})" if label_names else "")
        raise LabelError(
            f"The teacher was built for {wanted}, found {len(found)} in the masks of {str(source)!r}: "
            f"{', '.join(found)}."
        )
    return looked.parts["training"], looked.class_names, looked.mask_values


def as_seen(image: Tensor, teacher: Teacher) -> Tensor:
    """Return an image ``(C, ...)`` of a teacher without normalization, with values from 0 to 1."""
    low, high = teacher.value_range
    return (image * teacher.std[0] + teacher.mean[0] - low) / (high - low)
