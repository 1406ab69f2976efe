# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom: drawn images of tissue in four grades, without data of patients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from monai_gmcl.data.drawn_folder import draw_classes, draw_once
from monai_gmcl.data.phantom_image import phantom_image
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["PHANTOM_GRADES", "PHANTOM_IMAGES_PER_CLASS", "make_phantom"]

PHANTOM_GRADES = ("0_normal", "1_cin1", "2_cin2", "3_cin3")
"""Class folders; sorted, they are in the order of the grades."""

PHANTOM_IMAGES_PER_CLASS: Mapping[str, int] = {"train": 50, "valid": 50, "test": 100}

VERSION = 1
"""Version of the drawing; increased if the same seed gives other images."""


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
