# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_gmcl.benchmark.comparison import data_options
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.mask_data import MaskData
from monai_gmcl.exceptions import ConfigurationError, DataError


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> DataOptions:
    """Grey images 24 x 20 with a bright square, which is the mask."""
    root = tmp_path_factory.mktemp("data") / "squares"
    generator = np.random.default_rng(0)
    for part, count in (("train", 5), ("valid", 2), ("test", 2)):
        for i in range(count):
            mask, (top, left) = np.zeros((24, 20), np.uint8), generator.integers(2, 10, 2)
            mask[top : top + 8, left : left + 8] = 255
            for name, pixels in (("images", mask // 2 + generator.integers(0, 99, mask.shape)), ("labels", mask)):
                (root / part / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i}.png")
    return data_options(str(root), None, None, None, False, False, None, patch=16)


def test_images_with_masks_are_found_and_drawn_by_seed(options: DataOptions) -> None:
    assert (options.masks, options.channels, options.classes, options.spatial_dims) == (True, 1, 2, 2)
    data = MaskData(options)
    (images, masks), (others, _) = data.draw(2, seed=0)
    assert images.shape == (2, 1, 24, 20) and len(others) == 3
    assert masks.dtype == torch.uint8 and masks.flatten(1).sum(1).tolist() == [64, 64]
    assert images[masks == 1].min() > images[masks == 0].max() - 0.1
    assert not torch.equal(images, data.draw(2, seed=1)[0][0]) and torch.equal(images, data.draw(2, seed=0)[0][0])
    assert len(data.choosing[0]) == 2 and len(data.split("test")[1]) == 2


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        ({"patch": 18}, ConfigurationError, r"multiples of 4, got images of \(24, 20\) and patch 18.*at most 20"),
        ({"patch": 24}, ConfigurationError, "at most 20"),
        ({"patch": None, "size": 30}, ConfigurationError, r"images of \(30, 30\) and patch None"),
    ],
)
def test_sizes_that_the_student_cannot_take_are_named(
    options: DataOptions, change: dict[str, int], error: type[Exception], found: str
) -> None:
    with pytest.raises(error, match=found):
        MaskData(replace(options, **change)).read()  # type: ignore[arg-type]


def test_more_images_than_there_are_and_other_parts_are_named(options: DataOptions) -> None:
    data = MaskData(options)
    with pytest.raises(DataError, match="n of at most 5, .*got 6"):
        data.draw(6, 0)
    with pytest.raises(DataError, match="'held_out' or 'test' .*got 'extra'"):
        data.split("extra")


def test_patches_are_for_masks(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="patch is accepted only for images with masks"):
        data_options(str(folder), None, None, None, False, False, None, patch=16)
