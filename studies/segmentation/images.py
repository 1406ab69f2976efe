# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images with masks: membranes in electron microscopy, drawn vessels, thin and of low contrast, drawn lesions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from monai_gmcl.data.volume_phantom import LESION_SHAPES, phantom_volume_with_mask
from monai_gmcl.exceptions import DataError

__all__ = ["SETS", "Item", "draw_vessels", "read_part"]

Item = dict[str, Tensor]
"""``image`` ``(1, H, W)`` or ``(1, D, H, W)`` from 0 to 1, and ``label`` of the same shape, 0 and 1."""

Pairs = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
DRAWN = {"train": 10, "valid": 5, "test": 15}
SIDE, OVERSAMPLING = 160, 4
BRIGHTEST, NOISE = 1200, 100
"""Value of a volume that becomes 1, and standard deviation of the noise that is added to that of the phantom."""


@cache
def read_part(name: str, part: str, data_dir: str) -> list[Item]:
    """Return the images of a part, in the order of their names.

    Args:
        name: in :data:`SETS`.
        part: ``train``, ``valid`` or ``test``.
        data_dir: folder with ``membranes``.

    Raises:
        DataError: no images there.
    """
    pairs = SETS[name](part, Path(data_dir))
    if not pairs:
        raise DataError(f"{data_dir!r} holds no images of {name!r}, part {part!r}.")
    return _items(pairs)


@cache
def draw_vessels(part: str, count: int) -> list[Item]:
    """Return drawn vessels of a part, the same each time; the first ones are those of :func:`read_part`."""
    return _items(_drawn(part, count))


def _items(pairs: Pairs) -> list[Item]:
    return [
        {"image": torch.tensor(image)[None], "label": torch.tensor(mask, dtype=torch.float32)[None]}
        for image, mask in pairs
    ]


def _membranes(part: str, data_dir: Path) -> Pairs:
    def pixels(file: Path) -> NDArray[np.float32]:
        return np.asarray(np.asarray(Image.open(file)) / 255, dtype=np.float32)

    files = sorted((data_dir / "membranes" / part / "images").glob("*.png"))
    return [(pixels(file), pixels(file.parents[1] / "labels" / file.name) > 0) for file in files]


def _vessels(part: str, _: Path) -> Pairs:
    return _drawn(part, DRAWN[part])


def _drawn(part: str, count: int) -> Pairs:
    first = int.from_bytes(part.encode(), "big")
    return [_draw(np.random.default_rng([first, index])) for index in range(count)]


def _draw(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Dark branching vessels, 0.5 to 3.5 pixels wide, in an uneven background with noise and spots."""
    canvas = Image.new("F", (SIDE * OVERSAMPLING,) * 2)
    draw = ImageDraw.Draw(canvas)
    trees = [_root(rng, canvas.width) for _ in range(rng.integers(2, 5))]
    drawn = 0
    while trees and drawn < 70:
        trees += _grow(rng, draw, canvas.width, *trees.pop())
        drawn += 1
    covered = Image.fromarray((np.asarray(canvas) > 0).astype(np.float32))
    depth, cover = (np.asarray(i.resize((SIDE, SIDE), Image.Resampling.BOX)) for i in (canvas, covered))
    image = rng.uniform(0.45, 0.6) + 0.07 * _field(rng, 1.8) + 0.035 * _field(rng, 0.9)
    image += 0.03 * rng.standard_normal((SIDE, SIDE)) - rng.uniform(0.1, 0.18) * depth
    y, x = np.mgrid[:SIDE, :SIDE]
    for _ in range(rng.integers(4, 12)):
        center_x, center_y = rng.uniform(0, SIDE, 2)
        height, radius = rng.choice([-1, 1]) * rng.uniform(0.05, 0.15), rng.uniform(1.5, 5)
        image += height * np.exp(-((x - center_x) ** 2 + (y - center_y) ** 2) / (2 * radius**2))
    return image.clip(0, 1).astype(np.float32), cover > 0.5


def _root(rng: np.random.Generator, side: int) -> tuple[float, float, float, float]:
    """Where a tree begins, on the upper or the lower edge: x, y, angle, width."""
    x, y = rng.uniform(0, side), float(rng.choice([0, side - 1]))
    return x, y, math.atan2(side / 2 - y, side / 2 - x) + rng.normal(0, 0.5), rng.uniform(2.2, 3.5) * OVERSAMPLING


def _grow(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, side: int, x: float, y: float, angle: float, width: float
) -> list[tuple[float, float, float, float]]:
    """Draw a vessel and return its branches."""
    branches = []
    for _ in range(rng.integers(30, 90)):
        angle += rng.normal(0, 0.12)
        ahead = x + math.cos(angle) * OVERSAMPLING * 1.5, y + math.sin(angle) * OVERSAMPLING * 1.5
        depth = min(1.0, 0.35 + 0.65 * width / OVERSAMPLING / 3)
        draw.line([x, y, *ahead], fill=depth, width=max(1, round(width)))
        x, y = ahead
        if not (0 <= x < side and 0 <= y < side):
            break
        if width > 0.9 * OVERSAMPLING and rng.random() < 0.035:
            turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
            branches.append((x, y, angle + turn, width * rng.uniform(0.5, 0.85)))
        width *= 0.996
    return branches


def _lesions(part: str, _: Path) -> Pairs:
    """Bright lesions in four shapes, in volumes of 48 x 48 x 48 voxels with vessels, uneven tissue and noise."""
    first = int.from_bytes(part.encode(), "big")
    return [_draw_lesion(np.random.default_rng([first, i]), i % len(LESION_SHAPES)) for i in range(DRAWN[part])]


def _draw_lesion(rng: np.random.Generator, shape: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    volume, lesion = phantom_volume_with_mask(shape, rng, (1.0, 1.0, 1.0))
    image = (volume + NOISE * rng.standard_normal(volume.shape)) / BRIGHTEST
    return image.clip(0, 1).astype(np.float32), lesion > 0


def _field(rng: np.random.Generator, power: float) -> NDArray[np.float64]:
    """Smooth noise with mean 0 and variance 1."""
    frequency = np.fft.fftfreq(SIDE)
    radius = np.sqrt(frequency[:, None] ** 2 + frequency[None] ** 2)
    radius[0, 0] = 1
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) / radius**power).real
    return np.asarray((field - field.mean()) / field.std())


SETS: dict[str, Callable[[str, Path], Pairs]] = {"membranes": _membranes, "vessels": _vessels, "lesions": _lesions}
