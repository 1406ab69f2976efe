# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from monai_gmcl.contours import draw_contours
from monai_gmcl.names import shown_name

__all__ = ["COLUMNS", "contact_sheet"]

COLUMNS = 10
"""Most images in a row."""
LEAST_COLUMNS = 5
TILE, GAP, HEADING = 96, 4, 20
"""Pixels."""


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Tensor]]], masks: Sequence[Sequence[Tensor]] | None = None
) -> bytes:
    """Return a PNG with rows of images, at most ten in each, under the row's name.

    Args:
        rows: name and images ``(C, H, W)``, or ``(C, D, H, W)`` of which the middle slice along D is drawn; values from
            0 to 1. Three channels are drawn in color, of other numbers the first.
        masks: of the images, row by row, class indices ``(1, H, W)`` or ``(1, D, H, W)``: their contours are drawn in.
    """
    columns = min(COLUMNS, max([LEAST_COLUMNS, *(len(images) for _, images in rows)]))
    width = GAP + columns * (TILE + GAP)
    height = GAP + len(rows) * (HEADING + TILE + GAP)
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(13)
    for row, (name, images) in enumerate(rows):
        top = GAP + row * (HEADING + TILE + GAP)
        pen.text((GAP, top), shown_name(name), fill="black", font=font)
        for column, image in enumerate(images[:COLUMNS]):
            mask = None if masks is None else masks[row][column]
            page.paste(_tile(image, mask), (GAP + column * (TILE + GAP), top + HEADING))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _tile(image: Tensor, mask: Tensor | None = None) -> Image.Image:
    """A square with the image in its middle, its proportions kept."""
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
        mask = None if mask is None else mask[:, mask.shape[1] // 2]
    pixels = np.rint(image.clamp(0, 1).numpy() * 255).astype(np.uint8)
    picture = Image.fromarray(pixels.transpose(1, 2, 0).copy() if len(pixels) == 3 else pixels[0]).convert("RGB")
    scale = TILE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    if mask is not None:
        draw_contours(picture, mask[0])
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(picture, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile
