# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The data of a comparison: images drawn by seed to train on, to choose weights and to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.utils import set_rnd
from torch import Tensor
from torch.utils.data import Dataset

from monai_gmcl.data import class_folder_datalist, draw_labeled, image_transforms
from monai_gmcl.data.part_lists import PARTS, part_name
from monai_gmcl.exceptions import DataError

__all__ = ["AugmentedImages", "AugmentedPairs", "BenchmarkData", "DataOptions", "Images", "part_folder"]

Images = tuple[Tensor, Tensor]
"""Images float ``(N, C, H, W)`` or ``(N, C, D, H, W)`` from 0 to 1, labels int64 ``(N,)`` or masks ``(N, 1, ...)``."""
CHOOSING = 300
"""Validation images that choose weights; the others are for development."""
HELD_OUT = 2000


@dataclass(frozen=True)
class DataOptions:
    """How to read a folder with ``train``, ``valid`` and, to measure at the end, ``test`` class folders.

    Other usual names of these parts are as good; see :func:`part_folder`. What is not said here is as for ``compare``.

    Attributes:
        folder: path of the data set; its last part names it in the report.
        upright: the images have an up and a down (X-rays): no flips, no quarter turns, small rotations and shifts
            instead. Otherwise (microscopy) any of the eight orientations is as good.
        classes: number of class folders, or of the classes of masks with the background.
        masks: whether labels are masks.
    """

    folder: str
    channels: int = 3
    crop: int | None = None
    size: int | None = None
    upright: bool = False
    centered: bool = False
    spatial_dims: int = 2
    classes: int = 2
    intensity_range: tuple[float, float] | None = None
    masks: bool = False
    patch: int | None = None

    @property
    def name(self) -> str:
        """Last part of the folder."""
        return Path(self.folder).name

    def as_dict(self) -> dict[str, Any]:
        """Return what changes results: all but where the folder lies, and what differs from two classes in 2-D."""
        late = ("spatial_dims", "classes", "intensity_range", "masks", "patch")
        usual = {field.name: field.default for field in fields(self) if field.name in late}
        own = {name: value for name, value in asdict(self).items() if usual.get(name) != value}
        if self.intensity_range is not None:
            own["intensity_range"] = list(self.intensity_range)
        return {**own, "folder": self.name}

    @property
    def sharing(self) -> int:
        """How many classes share labeled images evenly: of masks, which may have several, none do."""
        return 1 if self.masks else self.classes

    @property
    def image_size(self) -> tuple[int, ...]:
        """Size of images where they are resized, or else the one that stands for it, 32 a side."""
        return (self.size or 32,) * self.spatial_dims


def part_folder(folder: str | Path, name: str) -> Path:
    """Return the folder of a part of a data set: of that name, or of another usual one (``val`` for ``valid``).

    ``name`` is ``train``, ``valid``, ``test`` or that of a folder to measure on. DataError for no such folder, or
    several.
    """
    place = Path(folder)
    if (place / name).is_dir():
        return place / name
    inner = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    part = part_name(name)
    found = [path for path in inner if part is not None and part_name(path.name) == part]
    if len(found) != 1:
        others = ", ".join(f"'{other}'" for other in PARTS[part] if other != name) if part else ""
        raise DataError(
            f"Expected one folder {name!r} {f'(or {others}) ' if others else ''}with class folders in {str(place)!r}, "
            f"found {', '.join(path.name for path in found or inner) or 'no folder'}."
        )
    return found[0]


class BenchmarkData:
    """A data set in memory, split as a study of few labels needs it."""

    def __init__(self, options: DataOptions) -> None:
        self.options = options
        self.items, self.class_names = class_folder_datalist(part_folder(options.folder, "train"))
        if len(self.class_names) != options.classes:
            raise DataError(
                f"Expected {options.classes} class folders in {str(part_folder(options.folder, 'train'))!r}, found "
                f"{len(self.class_names)}: {', '.join(self.class_names)}."
            )
        self._splits: dict[str, Images] = {}

    @cached_property
    def _train(self) -> Images:
        return self._read(self.items)

    @cached_property
    def _valid(self) -> Images:
        items, _ = class_folder_datalist(part_folder(self.options.folder, "valid"), self.class_names)
        order = np.random.RandomState(3).permutation(len(items))
        return self._read([items[i] for i in order])

    def read(self, splits: Iterable[str] = ()) -> None:
        """Read ``train``, ``valid`` and other parts now rather than when they are asked for."""
        self._train, self._valid  # noqa: B018
        for name in splits:
            self.split(name)

    @property
    def choosing(self) -> Images:
        """The validation images that choose weights, the same for every run."""
        return self._valid[0][:CHOOSING], self._valid[1][:CHOOSING]

    def draw(self, per_class: int, seed: int) -> tuple[Images, Images]:
        """Return the labeled images of a seed, and up to 2,000 images of ``train`` that it did not draw."""
        index = {str(item["image"]): i for i, item in enumerate(self.items)}
        drawn, rest = draw_labeled(self.items, per_class, seed)
        rest = [rest[i] for i in np.random.RandomState(7).permutation(len(rest))[:HELD_OUT]]
        labeled, held_out = (torch.tensor([index[str(item["image"])] for item in part]) for part in (drawn, rest))
        return (self._train[0][labeled], self._train[1][labeled]), (self._train[0][held_out], self._train[1][held_out])

    def unlabeled(self, per_class: int, seed: int, measured: bool) -> Images:
        """Return the images of ``train`` that a seed did not draw; without those that are ``measured`` on, if so."""
        index = {str(item["image"]): i for i, item in enumerate(self.items)}
        _, rest = draw_labeled(self.items, per_class, seed)
        order = np.random.RandomState(7).permutation(len(rest))
        pool = torch.tensor([index[str(rest[i]["image"])] for i in (order[HELD_OUT:] if measured else order)])
        if len(pool) == 0:
            raise DataError(
                f"Expected unlabeled images of {self.options.name}, found only labeled and held-out images."
            )
        return self._train[0][pool], self._train[1][pool]

    def split(self, name: str) -> Images:
        """Return all images of another part, such as ``test``."""
        if name in self._splits:
            return self._splits[name]
        folder = part_folder(self.options.folder, name)
        self._splits[name] = self._read(class_folder_datalist(folder, self.class_names)[0])
        return self._splits[name]

    def _read(self, items: Any) -> Images:
        options = self.options
        read = image_transforms(
            options.spatial_dims, options.channels, options.crop, options.size, options.intensity_range
        )
        images = torch.stack([read(item)["image"].as_subclass(torch.Tensor) for item in items])
        return images, torch.tensor([item["label"] for item in items])


class AugmentedImages(Dataset[tuple[Any, ...]]):
    """Images ``(N, C, ...)``, augmented one by one by a seed, with what is ``known`` of each (labels, ...) beside them.

    MONAI's ArrayDataset seeds every random transform anew for every image, 0.1 ms each: more than most of them take.
    """

    def __init__(self, images: Tensor, augmentation: Callable[[Any], Any], seed: int, *known: Tensor) -> None:
        self.images = images
        self.augmentation = augmentation
        self.known = known
        set_rnd(augmentation, seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.augmentation(self.images[index]), *(values[index] for values in self.known)


class AugmentedPairs(AugmentedImages):
    """Images with masks ``(N, 1, ...)``, the first of what is known, changed together as ``image`` and ``label``."""

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        masks, *known = self.known
        changed = self.augmentation({"image": self.images[index], "label": masks[index]})
        # A crop by classes gives a list, here of one patch.
        pair = changed[0] if isinstance(changed, list) else changed
        return pair["image"], pair["label"].to(masks.dtype), *(values[index] for values in known)
