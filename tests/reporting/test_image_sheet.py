# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Polygon
from PIL import Image

from monai_gmcl.reporting.image_sheet import (
    COLUMNS,
    GAP,
    HEADING,
    TILE,
    SheetRow,
    class_color,
    draw_contours,
    image_sheet,
    mask_contours,
)


def page_of(*rows):
    return np.asarray(Image.open(io.BytesIO(image_sheet([SheetRow(name, [images]) for name, images in rows]))))


def tile(page, row, column):
    top, left = GAP + row * (HEADING + TILE + GAP) + HEADING, GAP + column * (TILE + GAP)
    return page[top : top + TILE, left : left + TILE]


def test_each_class_has_a_row_of_images_under_its_name():
    red, grey = torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, 8, 8), torch.full((1, 8, 8), 0.5)
    page = page_of(("red", [red, red]), ("grey", [grey]))
    assert (tile(page, 0, 1) == [255, 0, 0]).all() and (tile(page, 1, 0) == 128).all()
    assert (tile(page, 0, 2) == 255).all(), "There is no third image."
    for row in range(2):
        top = GAP + row * (HEADING + TILE + GAP)
        assert (page[top : top + HEADING - GAP] < 128).any(), "A name stands there."


def test_no_more_images_than_columns_are_drawn():
    many = [torch.zeros(1, 4, 4)] * (COLUMNS + 5)
    assert page_of(("many", many)).shape[1] == GAP + COLUMNS * (TILE + GAP)


@pytest.mark.parametrize("side", [4, 480])
def test_proportions_are_kept(side):
    drawn = tile(page_of(("wide", [torch.zeros(1, side // 2, side)])), 0, 0)
    black = (drawn == 0).all(-1)
    assert black.any(1).sum() == TILE // 2 and black.any(0).sum() == TILE


def test_of_a_volume_the_middle_slice_is_drawn():
    volume = torch.zeros(1, 5, 4, 4)
    volume[:, 2] = 1
    assert (tile(page_of(("volume", [volume])), 0, 0) == 255).all()


def test_blocks_stand_beside_each_other_under_their_headings():
    black, white = torch.zeros(2, 1, 4, 4), torch.ones(3, 1, 4, 4)
    rows = [SheetRow("a", [black, white]), SheetRow("b", [black[:1], white])]
    page = np.asarray(Image.open(io.BytesIO(image_sheet(rows, "title", ("left", "right")))))
    assert page.shape[:2] == (2 * HEADING + GAP + 2 * (HEADING + TILE + GAP), GAP + 5 * (TILE + GAP) + 16)
    assert ((page == 0).all(2).sum() - 3 * TILE**2) < 0.1 * TILE**2


def test_without_a_range_black_and_white_are_those_of_the_first_block():
    rows = [SheetRow("", [torch.tensor([-1.0, 3.0]).view(2, 1, 1, 1), torch.tensor([1.0]).view(1, 1, 1, 1)])]
    page = np.asarray(Image.open(io.BytesIO(image_sheet(rows, value_range=None))))
    assert {tuple(color) for color in page.reshape(-1, 3)} == {(0,) * 3, (128,) * 3, (255,) * 3}


def test_masks_are_drawn_as_contours_into_their_images():
    image, mask = torch.zeros(1, 6, 16, 16), torch.zeros(1, 6, 16, 16, dtype=torch.uint8)
    mask[0, 3, 4:12, 4:12] = 1
    plain, marked = (
        np.asarray(Image.open(io.BytesIO(image_sheet([SheetRow("a", [[image]], masks)])))) for masks in ((), [[mask]])
    )
    rows, columns = np.nonzero((plain != marked).any(-1))
    pixel = TILE / 16
    assert abs(columns.min() - (GAP + 4 * pixel)) <= 1 and abs(columns.max() - (GAP + 12 * pixel)) <= 1
    assert abs(rows.min() - (GAP + HEADING + 4 * pixel)) <= 1


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
