# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from monai.transforms.intensity.array import RandScaleIntensity

from monai_gmcl.benchmark.data_sets import AugmentedImages

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def images_of(seed: int) -> AugmentedImages:
    return AugmentedImages(IMAGES, RandScaleIntensity(factors=0.5, prob=1.0), seed, torch.arange(6), torch.ones(6))


def test_an_image_comes_changed_and_with_what_is_known_of_it() -> None:
    image, label, mark = images_of(0)[4]
    assert len(images_of(0)) == 6
    assert image.shape == (3, 8, 8) and not torch.equal(image, IMAGES[4])
    assert (label, mark) == (4, 1)


def test_an_image_is_changed_anew_whenever_it_is_read() -> None:
    images = images_of(0)
    assert not torch.equal(images[4][0], images[4][0])


def test_the_seed_decides_the_changes() -> None:
    assert torch.equal(images_of(1)[2][0], images_of(1)[2][0])
    assert not torch.equal(images_of(1)[2][0], images_of(2)[2][0])
