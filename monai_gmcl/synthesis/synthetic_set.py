# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing of a synthetic data set to a folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import torch
from torch import Tensor
from tqdm import tqdm

from monai_gmcl.data.labeled_sources import Label, read_label
from monai_gmcl.data.mask_files import ReadMaskd
from monai_gmcl.data.synthetic_dataset import SyntheticDataset
from monai_gmcl.metrics import Memorization, small_pixels
from monai_gmcl.names import csv_cell, csv_text, shown_name
from monai_gmcl.reporting.image_sheet import COLUMNS, SheetRow, image_sheet
from monai_gmcl.synthesis.card import card, measure
from monai_gmcl.synthesis.image_files import encode_image, encode_mask, read_image, suffix
from monai_gmcl.synthesis.out_folder import CARD, CONTACT_SHEET, DATALIST, IMAGES, LABELS, MANIFEST, OutFolder
from monai_gmcl.synthesis.real_images import RealImages, Survey, as_seen
from monai_gmcl.synthesis.review import write_review
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.teacher_file import TeacherDescription

__all__ = ["SyntheticSet"]

NOTE = "synthetic, not for diagnosis"
WITH_MASKS = "with masks"
"""Name of the only group of images with masks, which belong to no single class."""


class SyntheticSet:
    """Writes a synthetic data set to a folder.

    The files depend only on the arguments. Existing files are equal to the files that would be written, so that an
    interrupted and continued set has the same bytes as an uninterrupted one.

    Args:
        description: description of the teacher.
        dataset: makes the images with the teacher.
        label_names: names of the teacher's labels, or of the classes in masks.
        real: real images and information about them; None without real images.
        intensity_range: file values of 0 and 1. Default: 0 and 255 in PNG, 0 and 1 in NIfTI.
    """

    def __init__(
        self,
        description: TeacherDescription,
        dataset: SyntheticDataset,
        label_names: Sequence[str],
        real: tuple[RealImages, Survey] | None,
        intensity_range: tuple[float, float] | None,
    ) -> None:
        self.description, self.dataset, self.real = description, dataset, real
        assert isinstance(dataset.teacher, Teacher)
        self.teacher = dataset.teacher
        self.intensity_range = intensity_range
        self.of_masks = real is not None and real[0].of_masks
        self.label_names = list(label_names)
        self.plans = [dataset.plan(index) for index in range(len(dataset))]
        ending = suffix(self.teacher.spatial_dims)
        self.masks: list[str] = []
        if self.of_masks:
            self.names = dict.fromkeys(dataset.classes, WITH_MASKS)
            self.files, self.masks = (
                [f"{folder}/{index:05d}{ending}" for index in range(len(dataset))] for folder in (IMAGES, LABELS)
            )
        else:
            self.names = {label: _class_name(label, label_names) for label in dataset.classes}
            folders = _folder_names(self.names)
            self.files = [f"{IMAGES}/{folders[plan.label]}/{plan.number:05d}{ending}" for plan in self.plans]

    def record(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return all values on which the bytes of the set depend."""
        from monai_gmcl import __version__

        return {
            "teacher_sha256": self.description.sha256,
            "source_sha256": self.real[1].sha256 if self.real else None,
            "per_class": self.dataset.per_class,
            "difficulty": self.dataset.difficulty,
            "seed": self.dataset.seed,
            **arguments,
            "label_names": self._told_names(str),
            "versions": {"monai_gmcl": __version__, "monai": monai.__version__, "torch": torch.__version__},
        }

    def _told_names(self, told: Callable[[Label], Any]) -> dict[str, str]:
        if self.of_masks:
            return {str(label): name for label, name in enumerate(self.label_names)}
        return {str(told(label)): name for label, name in self.names.items()}

    def try_sources(self) -> None:
        """Make one image from a source of each size, so that unsuitable sources raise an error at the start."""
        if self.real is not None and self.teacher.needs_images:
            shapes = self.real[1].shapes
            first = {shapes[plan.source or 0]: index for index, plan in reversed(list(enumerate(self.plans)))}
            for index in first.values():
                self.dataset[index]

    def write_images(self, folder: OutFolder) -> None:
        """Write the missing images, with a progress bar."""
        missing = [index for index, name in enumerate(self.files) if not folder.has(name)]
        bar = tqdm(missing, "synthetic images", len(self.files), initial=len(self.files) - len(missing), unit="image")
        comment = f"{NOTE}; monai_gmcl {type(self.teacher).__name__}"
        for index in bar:
            item = self.dataset[index]
            image = as_seen(item[self.dataset.image_key], self.teacher)
            if self.of_masks:
                # the mask is written first, so that an existing image always has its mask
                folder.write(self.masks[index], encode_mask(item[self.dataset.label_key], image))
            folder.write(self.files[index], encode_image(image, comment, self.intensity_range))

    def finish(self, folder: OutFolder, record: Mapping[str, Any], review_dir: Path | None = None) -> None:
        """Write lists, contact sheet, review and, at the end, the card."""
        groups = self._groups()
        folder.write(DATALIST, self._datalist(groups).encode())
        folder.write(MANIFEST, self._manifest(folder, groups).encode())
        pixels, shapes, shown = self._read_back(folder)
        masks = [self._shown_masks(folder)] if self.of_masks else []
        rows = [SheetRow(self.names[label], [shown[label]], masks) for label in self.dataset.classes]
        folder.write(CONTACT_SHEET, image_sheet(rows))
        of_label = [plan.label for plan in self.plans]
        measures = measure(
            self.teacher,
            self._by_class(pixels, of_label),
            self._by_class(self.real[1].pixels, self._real_labels()) if self.real else {},
            self.real[0] if self.real else None,
            (pixels, self.real[1].pixels) if self.real else None,
            self.dataset.difficulty,
            self.dataset.seed,
        )
        if review_dir is not None and self.real is not None and isinstance(measures.memorization, Memorization):
            files = [folder.path / name for name in self.files]
            write_review(review_dir, measures.memorization, files, self.real[0], self.intensity_range)
        text = card(
            self.description,
            self.teacher.needs_images,
            record,
            {name: of_label.count(label) for label, name in self.names.items()},
            {name: self._real_labels().count(label) for label, name in self.names.items()} if self.real else {},
            shapes,
            measures,
            self.label_names if self.of_masks else (),
        )
        folder.write(CARD, text.encode())

    def _real_labels(self) -> list[Label]:
        if self.real is not None and self.of_masks:
            return [self.dataset.classes[0]] * len(self.real[0])
        return [read_label(item["label"]) for item in self.real[0].data] if self.real else []

    def _by_class(self, pixels: Tensor, labels: Sequence[Label]) -> dict[str, Tensor]:
        return {
            name: pixels[[i for i, other in enumerate(labels) if other == label]] for label, name in self.names.items()
        }

    def _groups(self) -> list[str | None]:
        """Return a consecutive number, which reveals nothing, for the source of each image or its patient."""
        if self.real is None or not self.teacher.needs_images:
            return [None] * len(self.plans)
        numbers: dict[Any, str] = {}
        found: list[str | None] = []
        for plan in self.plans:
            group = self.real[0].data[plan.source or 0].get("group", ("alone", plan.source))
            found.append(numbers.setdefault(group, f"source {len(numbers) + 1}"))
        return found

    def _datalist(self, groups: Sequence[str | None]) -> str:
        items = [
            {"image": name, "label": label, **({"group": group} if group else {})}
            for name, label, group in zip(self.files, self._told_labels(), groups, strict=True)
        ]
        content = {
            "description": NOTE,
            "labels": self._told_names(_written),
            "numTraining": len(items),
            "training": items,
        }
        return json.dumps(content, indent=1) + "\n"

    def _told_labels(self) -> Sequence[Any]:
        return self.masks or [_written(plan.label) for plan in self.plans]

    def _manifest(self, folder: OutFolder, groups: Sequence[str | None]) -> str:
        rows = []
        for name, label, plan, group in zip(self.files, self._told_labels(), self.plans, groups, strict=True):
            digest = hashlib.sha256((folder.path / name).read_bytes()).hexdigest()
            shown = csv_cell(shown_name(self.names[plan.label]))
            rows.append([name, label, shown, plan.seed, group or "", digest])
        return csv_text(["image", "label", "class", "seed", "group", "sha256"], rows)

    def _read_back(self, folder: OutFolder) -> tuple[Tensor, list[str], dict[Label, list[Tensor]]]:
        """Read the written images: return the reduced images, their shapes, and the first images of each class."""
        pixels, shapes = [], set()
        shown: dict[Label, list[Tensor]] = {label: [] for label in self.dataset.classes}
        for name, plan in zip(self.files, self.plans, strict=True):
            image = read_image(folder.path / name, self.intensity_range)
            pixels.append(small_pixels(image[None]))
            shapes.add(" x ".join(map(str, image.shape)))
            if plan.number < COLUMNS:
                shown[plan.label].append(image)
        return torch.cat(pixels), sorted(shapes), shown

    def _shown_masks(self, folder: OutFolder) -> list[Tensor]:
        read = ReadMaskd("label", list(range(len(self.label_names))))
        return [read({"label": folder.path / name})["label"] for name in self.masks[:COLUMNS]]


def _written(label: Label) -> int | list[int]:
    return label if isinstance(label, int) else [round(value) for value in label]


def _class_name(label: Label, names: Sequence[str]) -> str:
    if isinstance(label, int):
        return names[label]
    return " + ".join(name for name, value in zip(names, label, strict=True) if value > 0.5) or "none"


def _folder_names(names: Mapping[Label, str]) -> dict[Label, str]:
    """Return a folder name for each class: its name, with its number if the name is not safe for a folder."""
    found: dict[Label, str] = {}
    for place, (label, name) in enumerate(names.items()):
        plain = re.sub(r"[^\w+-]+", "_", name, flags=re.ASCII).strip("_")[:60]
        taken = {folder.casefold() for folder in found.values()}
        found[label] = name if plain == name and name.casefold() not in taken else f"{place}_{plain}"
    return found
