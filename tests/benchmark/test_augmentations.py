# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.augmentations import (
    no_augmentation,
    standard_augmentation,
    strong_augmentation,
    trivial_augmentation,
)
from monai_gmcl.benchmark.data_sets import DataOptions

PATCHES = DataOptions("patches", 3, size=32, centered=True)
RADIOGRAPHS = DataOptions("radiographs", 1, size=28, upright=True)
SCANS = DataOptions("scans", 1, size=16, spatial_dims=3)
UPRIGHT_SCANS = DataOptions("upright_scans", 1, size=16, upright=True, spatial_dims=3)
MAKERS: dict[str, Callable[[DataOptions], Any]] = {
    "standard": standard_augmentation,
    "strong": strong_augmentation,
    "trivial": trivial_augmentation,
}


def image_of(options: DataOptions) -> torch.Tensor:
    return torch.rand(options.channels, *options.image_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [PATCHES, RADIOGRAPHS, SCANS, UPRIGHT_SCANS], ids=lambda options: options.name)
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_images_keep_shape_and_range_and_follow_the_seed(maker: Callable[..., Any], options: DataOptions) -> None:
    image, found = image_of(options), []
    for seed in (1, 1, 2):
        augmentation = maker(options).set_random_state(seed)
        found.append(torch.stack([torch.as_tensor(augmentation(image)) for _ in range(20)]))
    assert found[0].shape == (20, *image.shape) and found[0].isfinite().all()
    assert found[0].min() >= 0 and found[0].max() <= 1
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("maker", [standard_augmentation, strong_augmentation])
def test_strength_spreads_the_images(maker: Callable[..., Any]) -> None:
    image = image_of(RADIOGRAPHS)
    spread = []
    for strength in (0.5, 1.0, 2.0):
        augmentation = maker(RADIOGRAPHS, strength).set_random_state(0)
        spread.append(torch.stack([torch.as_tensor(augmentation(image)) for _ in range(50)]).std(0).mean().item())
    assert spread[0] < spread[1] < spread[2]


def test_no_augmentation_leaves_the_image() -> None:
    image = image_of(PATCHES)
    assert torch.equal(torch.as_tensor(no_augmentation()(image)), image)


def test_upright_images_are_not_turned() -> None:
    image = torch.linspace(0, 1, 28)[None, :, None].expand(1, 28, 28)
    augmentation = standard_augmentation(RADIOGRAPHS).set_random_state(0)
    for _ in range(20):
        changed = torch.as_tensor(augmentation(image))[0]
        assert changed[-7:].mean() > changed[:7].mean() + 0.3


def test_microscopy_images_are_turned_all_ways() -> None:
    image = torch.linspace(0, 1, 32)[None, :, None].expand(3, 32, 32)
    augmentation = standard_augmentation(PATCHES).set_random_state(0)
    brightest = set()
    for _ in range(60):
        changed = torch.as_tensor(augmentation(image)).mean(0)
        brightest.add(int(torch.stack([changed[0], changed[-1], changed[:, 0], changed[:, -1]]).mean(1).argmax()))
    assert brightest == {0, 1, 2, 3}
