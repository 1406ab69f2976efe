# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom: drawn images of tissue in four grades, and unlabeled ones, without data of patients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_gmcl.data.drawn_folder import draw_classes, draw_once
from monai_gmcl.data.phantom_image import phantom_image
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["PHANTOM_GRADES", "PHANTOM_IMAGES_PER_CLASS", "foreign_image", "make_phantom", "make_unlabeled_phantom"]

PHANTOM_GRADES = ("0_normal", "1_cin1", "2_cin2", "3_cin3")
"""Class folders; sorted, they are in the order of the grades."""

PHANTOM_IMAGES_PER_CLASS: Mapping[str, int] = {"train": 50, "valid": 50, "test": 100}

VERSION = 1
"""Version of the drawing; increased if the same seed gives other images."""

IMAGES, KEY = "images", int.from_bytes(b"unlabeled", "big")
"""Folder and seed of the unlabeled images."""


def make_phantom(
    folder: str | Path,
    images_per_class: Mapping[str, int] | None = None,
    size: int = 64,
    seed: int = 0,
) -> Path:
    """Draw the phantom data set, or use the existing one.

    The images show H&E-like cervical epithelium in four grades, drawn by :func:`phantom_image`, and no patient. An
    image depends only on (seed, split, class, index). A larger data set with the same seed therefore contains the
    smaller one.

    Args:
        folder: folder of the files ``<split>/<class>/<index>.png`` and ``phantom.json`` (parameters).
        images_per_class: number of images of each class, by split. Default: :data:`PHANTOM_IMAGES_PER_CLASS`.
        size: side length in pixels, at least 16.
        seed: seed of all images, at least 0.

    Returns:
        The folder.

    Raises:
        ConfigurationError: no images, a size below 16, or a negative seed.
        DataError: the folder contains something else, or a phantom with other parameters.
    """
    counts = dict(PHANTOM_IMAGES_PER_CLASS if images_per_class is None else images_per_class)
    if size < 16 or seed < 0 or not counts or min(counts.values()) < 1:
        raise ConfigurationError(
            "Expected size >= 16, seed >= 0 and at least one image per class and split, "
            f"got size {size}, seed {seed} and images_per_class {counts}."
        )
    folder = Path(folder)
    parameters = {"version": VERSION, "images_per_class": counts, "size": size, "seed": seed}
    draw = partial(draw_classes, counts=counts, names=PHANTOM_GRADES, seed=seed, draw=partial(_draw, size=size))
    draw_once(folder, "phantom.json", "phantom", parameters, draw)
    return folder


def _draw(grade: int, generator: np.random.Generator, path: Path, size: int) -> None:
    Image.fromarray(phantom_image(grade, generator, size)).save(path.with_suffix(".png"))


def make_unlabeled_phantom(
    folder: str | Path, count: int = 400, foreign_share: float = 0.2, size: int = 64, seed: int = 0
) -> Path:
    """Draw unlabeled images for the phantom, some of them out-of-distribution, or use existing ones.

    All grades are equally frequent, in random order. Out-of-distribution images are drawn by :func:`foreign_image`.
    ``unlabeled_phantom.json`` contains the true class of each image, for evaluation; training does not read it.

    Args:
        folder: folder of the files ``images/<index>.png`` and ``unlabeled_phantom.json``.
        count: number of images, at least 1.
        foreign_share: fraction of out-of-distribution images, 0 to 1.
        size: side length in pixels, at least 16.
        seed: seed of all images, at least 0.

    Returns:
        The folder of the images.

    Raises:
        ConfigurationError: an argument is out of range.
        DataError: the folder contains something else, or images with other parameters.
    """
    if count < 1 or not 0 <= foreign_share <= 1 or size < 16 or seed < 0:
        raise ConfigurationError(
            "Expected count >= 1, foreign_share from 0 to 1, size >= 16 and seed >= 0, "
            f"got {count}, {foreign_share}, {size} and {seed}."
        )
    folder = Path(folder)
    order = np.random.default_rng([seed, KEY]).permutation(count)
    foreign = round(count * foreign_share)
    kinds = ["foreign" if place < foreign else int(place % len(PHANTOM_GRADES)) for place in order]
    parameters = {"version": VERSION, "count": count, "foreign_share": foreign_share, "size": size, "seed": seed}

    def draw(place: Path) -> None:
        (place / IMAGES).mkdir()
        for index, kind in enumerate(kinds):
            generator = np.random.default_rng([seed, KEY, index])
            pixels = foreign_image(generator, size) if isinstance(kind, str) else phantom_image(kind, generator, size)
            Image.fromarray(pixels).save(place / IMAGES / f"{index:05d}.png")

    draw_once(folder, "unlabeled_phantom.json", "unlabeled phantom", parameters, draw, {"kinds": kinds})
    return folder / IMAGES


def foreign_image(generator: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """Draw an out-of-distribution image, RGB ``(size, size, 3)``: gray with bright bands, like a radiograph."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, size)] * 2)
    slope, bend, phase, count = generator.uniform([-0.3, 0.2, 0, 2], [0.3, 0.8, 2 * np.pi, 5])
    bands = np.cos(np.pi * count * (y + bend * x**2 + slope * x) + phase)
    light = 0.35 + 0.2 * np.exp(-2 * x**2) + 0.2 * bands.clip(0) ** 2 + generator.normal(0, 0.03, (size, size))
    grey = (255 * light.clip(0, 1)).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
