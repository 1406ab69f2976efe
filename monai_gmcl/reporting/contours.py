# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Contours of masks by class, and pictures with contours."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

__all__ = ["class_color", "draw_contours", "mask_contours"]


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
