# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from monai_gmcl.optical_density import combine_stains, separate_stains
from studies.proof.image_shifts import SHIFTS, appearance_shift, blur


def stained(count: int = 4) -> torch.Tensor:
    """Images that hold hematoxylin and eosin and nothing else."""
    amounts = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    return combine_stains(amounts * torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1))


def grey(count: int = 4, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_stains_of_an_image_change_by_one_factor_each() -> None:
    images = stained()
    ratio = separate_stains(appearance_shift(images)) / separate_stains(images)
    for stain in (0, 1):
        factors = ratio[:, stain].flatten(1)
        assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-3)
        assert ((factors > 0.7) & (factors < 1.3)).all()
    assert factors[:, 0].std() > 0.02
    assert not torch.allclose(ratio[:, 0], ratio[:, 1], atol=0.01)


def test_blur_is_scipys_gaussian_of_one_pixel() -> None:
    images = torch.cat([grey(), grey().flip(2), grey().flip(3)], 1)
    found = blur(images)
    wanted = ndimage.gaussian_filter(images.numpy(), (0, 0, 1, 1), mode="nearest", radius=(0, 0, 4, 4))
    # MONAI integrates the Gaussian over pixels, scipy samples it
    assert torch.allclose(found, torch.from_numpy(wanted), atol=0.02)
    assert torch.allclose(blur(torch.full((1, 1, 9, 9), 0.7)), torch.tensor(0.7))


@pytest.mark.parametrize("name", SHIFTS)
def test_shifted_images_stay_images(name: str) -> None:
    for images in (grey().round(), stained()):
        found = SHIFTS[name](images, 0)
        assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1 + 1e-6
