# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.mask_augmentations import nnunet_augmentation, standard_augmentation, trivial_augmentation

SLICES = DataOptions("slices", 1, masks=True, patch=24)
UPRIGHT = DataOptions("upright", 3, masks=True, upright=True)
SCANS = DataOptions("scans", 1, masks=True, patch=16, spatial_dims=3)
MAKERS: dict[str, Any] = {
    "standard": standard_augmentation,
    "nnunet": partial(nnunet_augmentation, deviation=0.2),
    "trivial": trivial_augmentation,
}


def pair_of(options: DataOptions) -> dict[str, torch.Tensor]:
    """An image that is bright where its mask has a class, off the center."""
    mask = torch.zeros(1, *([40] * 2 if options.spatial_dims == 2 else [20] * 3), dtype=torch.uint8)
    mask[:, 3:12, 2:9] = 1
    return {"image": (0.2 + 0.6 * mask).expand(options.channels, *mask.shape[1:]).clone(), "label": mask}


@pytest.mark.parametrize("options", [SLICES, UPRIGHT, SCANS], ids=lambda options: options.name)
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_masks_move_with_images_and_keep_their_values(maker: Any, options: DataOptions) -> None:
    pair, found = pair_of(options), []
    size = [options.patch] * options.spatial_dims if options.patch else pair["label"].shape[1:]
    for seed in (1, 1, 2):
        augmentation = maker(options).set_random_state(seed)
        made = [augmentation(dict(pair)) for _ in range(12)]
        found.append([one[0] if isinstance(one, list) else one for one in made])
    for one in found[0]:
        image, mask = (torch.as_tensor(one[key]) for key in ("image", "label"))
        assert list(image.shape[1:]) == list(mask.shape[1:]) == list(size) and 0 <= image.min() <= image.max() <= 1
        assert set(mask.unique().tolist()) <= {0, 1}
        if 20 < mask.sum() < mask.numel() - 20 and image.std() > 0.05:
            assert torch.corrcoef(torch.stack([image[0].flatten(), mask[0].flatten().float()]))[0, 1] > 0.6
    images = [torch.stack([torch.as_tensor(one["image"]) for one in made]) for made in found]
    assert torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])


def test_nnunets_noise_follows_the_deviation_and_its_ranges_the_strength() -> None:
    def noise(deviation: float, strength: float) -> float:
        (found,) = (
            t for t in nnunet_augmentation(SLICES, deviation, strength).transforms if "Noise" in type(t).__name__
        )
        return float(found.rand_gaussian_noise.std)  # type: ignore[attr-defined]

    assert noise(0.2, 1.0) == pytest.approx(0.02) and noise(0.4, 0.5) == pytest.approx(0.02)
