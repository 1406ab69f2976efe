# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Unlabeled images for the phantom, some of them out-of-distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_gmcl.data.drawn_folder import draw_once
from monai_gmcl.data.phantom_image import phantom_image
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["foreign_image", "make_unlabeled_phantom"]

IMAGES, RECORD = "images", "unlabeled_phantom.json"
VERSION = 1
"""Version of the drawing; increased if the same seed gives other images."""
KEY = int.from_bytes(b"unlabeled", "big")
GRADES = 4


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
    kinds = ["foreign" if place < foreign else int(place % GRADES) for place in order]
    parameters = {"version": VERSION, "count": count, "foreign_share": foreign_share, "size": size, "seed": seed}

    def draw(place: Path) -> None:
        (place / IMAGES).mkdir()
        for index, kind in enumerate(kinds):
            generator = np.random.default_rng([seed, KEY, index])
            pixels = foreign_image(generator, size) if isinstance(kind, str) else phantom_image(kind, generator, size)
            Image.fromarray(pixels).save(place / IMAGES / f"{index:05d}.png")

    draw_once(folder, RECORD, "unlabeled phantom", parameters, draw, {"kinds": kinds})
    return folder / IMAGES


def foreign_image(generator: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """Draw an out-of-distribution image, RGB ``(size, size, 3)``: gray with bright bands, like a radiograph."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, size)] * 2)
    slope, bend, phase, count = generator.uniform([-0.3, 0.2, 0, 2], [0.3, 0.8, 2 * np.pi, 5])
    bands = np.cos(np.pi * count * (y + bend * x**2 + slope * x) + phase)
    light = 0.35 + 0.2 * np.exp(-2 * x**2) + 0.2 * bands.clip(0) ** 2 + generator.normal(0, 0.03, (size, size))
    grey = (255 * light.clip(0, 1)).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
