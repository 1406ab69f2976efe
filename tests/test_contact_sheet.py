# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from monai_gmcl.contact_sheet import COLUMNS, GAP, HEADING, TILE, contact_sheet


def page_of(*rows):
    return np.asarray(Image.open(io.BytesIO(contact_sheet(rows))))


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


def test_masks_are_drawn_as_contours_into_their_images() -> None:
    image, mask = torch.zeros(1, 6, 16, 16), torch.zeros(1, 6, 16, 16, dtype=torch.uint8)
    mask[0, 3, 4:12, 4:12] = 1
    (plain, marked) = (
        np.asarray(Image.open(io.BytesIO(contact_sheet([("a", [image])], masks)))) for masks in (None, [[mask]])
    )
    changed = (plain != marked).any(-1)
    rows, columns = np.nonzero(changed)
    tile = TILE / 16
    assert abs(columns.min() - (GAP + 4 * tile)) <= 1 and abs(columns.max() - (GAP + 12 * tile)) <= 1
    assert abs(rows.min() - (GAP + HEADING + 4 * tile)) <= 1
