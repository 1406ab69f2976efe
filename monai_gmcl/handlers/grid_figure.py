# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.handlers.pictures import figure_png, plain_texts
from monai_gmcl.names import shown_name
from monai_gmcl.teachers.base import Teacher

__all__ = ["GridRow", "display_pixels", "draw_grid", "unnormalized"]

INCHES = 1.15
"""Side of an image on the page."""
MARGINS = {"left": 0.5, "right": 0.1, "top": 0.75, "bottom": 0.1}
"""Inches; the left one holds the classes' names, upright."""
GAP = 0.08
NAME_WIDTH = 16
"""Letters that fit beside an image."""


@dataclass(frozen=True)
class GridRow:
    """Images of one class.

    Attributes:
        name: of the class.
        real: ``(n, C, H, W)`` or ``(n, C, D, H, W)``.
        synthetic: of the same shape.
    """

    name: str
    real: Tensor
    synthetic: Tensor


def draw_grid(path: Path, rows: Sequence[GridRow], title: str, value_range: tuple[float, float] | None) -> None:
    """Write a PNG: a row for each class, real images on the left, synthetic ones on the right.

    Args:
        path: of the file.
        rows: the images.
        title: of the page.
        value_range: values of black and white. Default: the lowest and the highest of all real images.

    Raises:
        OutputError: the file cannot be written.
    """
    if value_range is None:
        value_range = min(float(r.real.min()) for r in rows), max(float(r.real.max()) for r in rows)
    with plain_texts():
        write_whole(path, figure_png(_grid(rows, title, value_range)))


def _grid(rows: Sequence[GridRow], title: str, value_range: tuple[float, float]) -> Figure:
    columns = max(len(row.real) for row in rows)
    block = columns * INCHES
    width = MARGINS["left"] + 2 * block + 3 * GAP + MARGINS["right"]
    height = MARGINS["top"] + len(rows) * (INCHES + GAP) + MARGINS["bottom"]
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(shown_name(title), x=0.5, y=1 - 0.22 / height, va="center", fontsize=12, fontweight="bold")
    for k, row in enumerate(rows):
        bottom = height - MARGINS["top"] - (k + 1) * (INCHES + GAP) + GAP
        figure.text(
            0.5 * MARGINS["left"] / width,
            (bottom + INCHES / 2) / height,
            textwrap.fill(shown_name(row.name), NAME_WIDTH),
            rotation=90,
            ha="center",
            va="center",
            fontsize=10,
        )
        for side, images in enumerate((row.real, row.synthetic)):
            left = MARGINS["left"] + side * (block + 3 * GAP)
            for j, image in enumerate(images):
                place = (left + j * INCHES) / width, bottom / height, (INCHES - GAP) / width, INCHES / height
                axes = figure.add_axes(place)
                axes.imshow(display_pixels(image, value_range), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes.set_axis_off()
    for side, heading in enumerate(("real images", "the teacher's images")):
        center = MARGINS["left"] + side * (block + 3 * GAP) + block / 2
        figure.text(
            center / width, 1 - (MARGINS["top"] - 0.14) / height, heading, ha="center", va="center", fontsize=10
        )
    return figure


def unnormalized(images: Tensor, teacher: nn.Module) -> Tensor:
    """Return images as they are without the mean and the standard deviation of a teacher, on the CPU."""
    if isinstance(teacher, Teacher):
        images = images * teacher.std.to(images) + teacher.mean.to(images)
    return images.float().cpu()


def display_pixels(image: Tensor, value_range: tuple[float, float]) -> NDArray[Any]:
    """Return ``(H, W)`` or ``(H, W, 3)`` with values from 0 to 1."""
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
    low, high = value_range
    image = ((image - low) / max(high - low, 1e-12)).clamp(0, 1)
    image = torch.nan_to_num(image)
    pixels: NDArray[Any] = image.permute(1, 2, 0).numpy() if len(image) == 3 else image[0].numpy()
    return np.ascontiguousarray(pixels)
