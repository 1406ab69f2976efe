# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import torch
from matplotlib.path import Path as Polygon
from PIL import Image

from monai_gmcl.reporting.contours import class_color, draw_contours, mask_contours


def test_lines_are_closed_and_hold_the_pixels_of_their_class() -> None:
    mask = torch.zeros(9, 12, dtype=torch.uint8)
    mask[2:5, 3:9] = 1
    mask[6:, 10:] = 2
    found = mask_contours(mask)
    assert set(found) == {1, 2}
    rows, columns = np.indices(mask.shape)
    for label, lines in found.items():
        assert all((line[0] == line[-1]).all() for line in lines)
        inside = sum(
            Polygon(line).contains_points(np.stack([columns.ravel(), rows.ravel()], 1)).reshape(mask.shape)
            for line in lines
        )
        assert (inside == (mask.numpy() == label)).all()


def test_the_background_and_ignored_pixels_have_none() -> None:
    assert mask_contours(torch.tensor([[0, 0], [-100, 0]])) == {}


def test_contours_are_drawn_at_the_pictures_scale_and_nowhere_else() -> None:
    mask = torch.zeros(8, 8, dtype=torch.int64)
    mask[2:6, 2:6] = 3
    picture = Image.new("RGB", (80, 80))
    draw_contours(picture, mask)
    pixels = np.asarray(picture)
    drawn = (pixels == class_color(3)).all(-1)
    assert ((pixels == 0).all(-1) | drawn).all() and drawn.any()
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 59, 19, 59)
    assert not drawn[25:55, 25:55].any()


def test_neighboring_classes_differ_in_color() -> None:
    assert len({class_color(label) for label in range(1, 11)}) == 10
