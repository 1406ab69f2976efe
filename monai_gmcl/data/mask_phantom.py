# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms with masks, for segmentation: nuclei in images, lesions in volumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from monai_gmcl.data.drawn_folder import draw_once
from monai_gmcl.data.phantom import PHANTOM_GRADES
from monai_gmcl.data.phantom_image import phantom_image_with_mask
from monai_gmcl.data.volume_phantom import LESION_SHAPES, drawn_volume
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["make_mask_phantom", "make_volume_mask_phantom"]

IMAGES: Mapping[str, int] = {"train": 12, "valid": 8, "test": 20}
VOLUMES: Mapping[str, int] = {"train": 12, "valid": 8, "test": 20}
VERSION = 1
"""Version of the drawing; increased if the same seed gives other images."""
Draw = Callable[[np.random.Generator, int, Path, Path, str], None]


def make_mask_phantom(
    folder: str | Path, images: Mapping[str, int] | None = None, size: int = 96, seed: int = 0
) -> Path:
    """Draw images of epithelium with masks of the nuclei, or use existing ones.

    Images are drawn by :func:`phantom_image`, with the four grades in turn. A mask is 1 in nuclei and 0 elsewhere. An
    image depends only on (seed, split, index). A larger data set with the same seed therefore contains the smaller one.

    Args:
        folder: folder of the files ``<split>/images/<index>.png``, ``<split>/labels/<index>.png``, ``dataset.json``
            (class names) and ``mask_phantom.json`` (parameters).
        images: number of images by split. Default: 12 for training, 8 for validation, 20 for test.
        size: side length in pixels, at least 16.
        seed: seed of all images, at least 0.

    Returns:
        The folder.

    Raises:
        ConfigurationError: no images, a size below 16, or a negative seed.
        DataError: the folder holds something else, or images with other parameters.
    """

    def draw(generator: np.random.Generator, index: int, image_folder: Path, mask_folder: Path, name: str) -> None:
        pixels, mask = phantom_image_with_mask(index % len(PHANTOM_GRADES), generator, size)
        Image.fromarray(pixels).save(image_folder / f"{name}.png")
        Image.fromarray(mask).save(mask_folder / f"{name}.png")

    if size < 16:
        raise ConfigurationError(f"Expected a size of at least 16 pixels, got {size}.")
    counts = IMAGES if images is None else images
    return _make(Path(folder), "mask_phantom.json", "nucleus", counts, seed, draw, {"size": size})


def make_volume_mask_phantom(folder: str | Path, volumes: Mapping[str, int] | None = None, seed: int = 0) -> Path:
    """Draw NIfTI volumes with masks of the lesions, or use existing ones.

    Volumes are drawn as by :func:`make_volume_phantom`, with the four shapes in turn. A mask has the geometry of its
    volume. It is 1 in the lesion and 0 elsewhere.

    Args:
        folder: folder of the files ``<split>/images/<index>.nii.gz``, ``<split>/labels/<index>.nii.gz``,
            ``dataset.json`` (class names) and ``volume_mask_phantom.json`` (parameters).
        volumes: number of volumes by split. Default: 12 for training, 8 for validation, 20 for test.
        seed: seed of all volumes, at least 0.

    Returns:
        The folder.

    Raises:
        ConfigurationError: no volumes, or a negative seed.
        DataError: the folder holds something else, or volumes with other parameters.
    """

    def draw(generator: np.random.Generator, index: int, image_folder: Path, mask_folder: Path, name: str) -> None:
        volume, mask = drawn_volume(index % len(LESION_SHAPES), generator)
        nibabel.save(volume, image_folder / f"{name}.nii.gz")
        nibabel.save(mask, mask_folder / f"{name}.nii.gz")

    counts = VOLUMES if volumes is None else volumes
    return _make(Path(folder), "volume_mask_phantom.json", "lesion", counts, seed, draw, {})


def _make(
    folder: Path, record: str, marked: str, counts: Mapping[str, int], seed: int, draw: Draw, more: Mapping[str, int]
) -> Path:
    counts = dict(counts)
    if seed < 0 or not counts or min(counts.values()) < 1:
        raise ConfigurationError(f"Expected seed >= 0 and at least one image in each part, got seed {seed}, {counts}.")

    def draw_all(place: Path) -> None:
        (place / "dataset.json").write_text(json.dumps({"labels": {"background": 0, marked: 1}}), encoding="utf-8")
        for part, count in counts.items():
            places = place / part / "images", place / part / "labels"
            for inner in places:
                inner.mkdir(parents=True)
            for index in range(count):
                generator = np.random.default_rng([seed, int.from_bytes(part.encode(), "big"), index])
                draw(generator, index, *places, f"{index:04d}")

    told = {"version": VERSION, "images": counts, **more, "seed": seed}
    draw_once(folder, record, record.removesuffix(".json").replace("_", " "), told, draw_all)
    return folder
