# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sheets of images: contact sheets, grids by class, training images of an arm; contours of masks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from contourpy import contour_generator
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from monai_gmcl.names import shown_name
from monai_gmcl.teachers.base import Teacher

__all__ = [
    "COLUMNS",
    "SheetRow",
    "class_color",
    "display_pixels",
    "draw_contours",
    "image_sheet",
    "mask_contours",
    "unnormalized",
]


def mask_contours(mask: Tensor) -> dict[int, list[NDArray[np.float64]]]:
    """Return the closed contours of each class of a mask ``(H, W)``, except the background 0 and negative values.

    The result has, by class, contours ``(n, 2)`` of x and y in pixels; the centers of pixels have integer coordinates.
    """
    values = np.asarray(mask.cpu())
    found = {}
    for value in np.unique(values[values > 0]).tolist():
        # padded, so that contours at the border are closed
        inside = np.pad((values == value).astype(float), 1)
        side = [np.arange(-1, length + 1) for length in inside.shape[::-1] - np.array(2)]
        lines: Any = contour_generator(x=side[0], y=side[1], z=inside).lines(0.5)
        found[int(value)] = list(lines)
    return found


def class_color(label: int) -> tuple[int, int, int]:
    """Return a bright color for a class from 1; class 1 is yellow."""
    # steps of the golden ratio, so that consecutive classes have very different hues
    red, green, blue = (round(255 * part) for part in hsv_to_rgb(((1 / 6 + 0.618034 * (label - 1)) % 1, 1, 1)))
    return red, green, blue


def draw_contours(picture: Image.Image, mask: Tensor) -> None:
    """Draw a mask's contours (:func:`mask_contours`), with a color for each class, into an RGB picture."""
    pen = ImageDraw.Draw(picture)
    scale = np.array(picture.size) / np.array(mask.shape[::-1])
    for label, lines in mask_contours(mask).items():
        for line in lines:
            pen.line([tuple(point) for point in (line + 0.5) * scale - 0.5], fill=class_color(label))


COLUMNS = 10
"""Largest number of images per row of a block."""
LEAST_COLUMNS = 5
"""A row has space for at least this number of images, so that its name fits."""
TILE, GAP, BLOCK_GAP, HEADING = 96, 4, 16, 20
"""Sizes of tiles, gaps and headings in pixels."""
Range = tuple[float, float]


@dataclass(frozen=True)
class SheetRow:
    """A row of images with a name.

    Attributes:
        name: name above the row; names are omitted if all names of a sheet are empty.
        blocks: images ``(C, H, W)`` or ``(C, D, H, W)``. For volumes, the middle slice along D is drawn. Three channels
            are drawn in color; with another number of channels, the first is drawn.
        masks: masks of the images by block, class indices ``(1, H, W)`` or ``(1, D, H, W)``, whose contours are drawn;
            empty for images without masks.
    """

    name: str
    blocks: Sequence[Sequence[Tensor] | Tensor]
    masks: Sequence[Sequence[Tensor] | Tensor] = ()


def image_sheet(
    rows: Sequence[SheetRow],
    title: str = "",
    headings: Sequence[str] = (),
    value_range: Range | None = (0.0, 1.0),
    tile: int = TILE,
) -> bytes:
    """Return a PNG with rows of blocks of at most ten images; an image has ``tile`` pixels per side.

    Each row has one block for each heading. Without ``value_range``, black and white are the lowest and the highest
    value of all first blocks.
    """
    if value_range is None:
        first = [image for row in rows for image in row.blocks[0]]
        value_range = min(float(image.min()) for image in first), max(float(image.max()) for image in first)
    blocks = max(len(row.blocks) for row in rows)
    counts = [max(len(row.blocks[block]) for row in rows) for block in range(blocks)]
    counts = [min(COLUMNS, max(count, LEAST_COLUMNS if blocks == 1 else 1)) for count in counts]
    lefts = [GAP + sum(counts[:block]) * (tile + GAP) + block * BLOCK_GAP for block in range(blocks)]
    named = HEADING if any(row.name for row in rows) else 0
    top = HEADING * bool(title) + HEADING * bool(headings)
    size = lefts[-1] + counts[-1] * (tile + GAP), top + GAP + len(rows) * (named + tile + GAP)
    page = Image.new("RGB", size, "white")
    _write(page, 0, 0, title)
    for left, heading in zip(lefts, headings, strict=False):
        _write(page, left, top - HEADING, heading)
    for number, row in enumerate(rows):
        below = top + GAP + number * (named + tile + GAP)
        _write(page, GAP, below, row.name)
        for left, images, masks in zip(lefts, row.blocks, row.masks or [()] * blocks, strict=True):
            for column, image in enumerate(images[:COLUMNS]):
                mask = masks[column] if len(masks) else None
                page.paste(_tile(image, value_range, tile, mask), (left + column * (tile + GAP), below + named))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def unnormalized(images: Tensor, teacher: nn.Module) -> Tensor:
    """Return images on the CPU with the normalization of a teacher reversed."""
    if isinstance(teacher, Teacher):
        images = images * teacher.std.to(images) + teacher.mean.to(images)
    return images.float().cpu()


def display_pixels(image: Tensor, value_range: Range) -> NDArray[Any]:
    """Return ``(H, W)`` or ``(H, W, 3)`` with values from 0 to 1."""
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
    low, high = value_range
    image = torch.nan_to_num(((image - low) / max(high - low, 1e-12)).clamp(0, 1))
    pixels: NDArray[Any] = image.permute(1, 2, 0).numpy() if len(image) == 3 else image[0].numpy()
    return np.ascontiguousarray(pixels)


def _write(page: Image.Image, left: int, top: int, text: str) -> None:
    # Matplotlib's font, because Pillow's own font has few characters beyond English.
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 13)
    ImageDraw.Draw(page).text((left, top), shown_name(text), fill="black", font=font)


def _tile(image: Tensor, value_range: Range, side: int, mask: Tensor | None = None) -> Image.Image:
    """Return a square with the image in its center, with unchanged proportions."""
    picture = Image.fromarray(np.rint(display_pixels(image, value_range) * 255).astype(np.uint8)).convert("RGB")
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    if mask is not None:
        draw_contours(picture, mask[0] if mask.ndim == 3 else mask[0, mask.shape[1] // 2])
    tile = Image.new("RGB", (side, side), "white")
    tile.paste(picture, ((side - size[0]) // 2, (side - size[1]) // 2))
    return tile
