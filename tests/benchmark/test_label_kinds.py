# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.data_sets import DataOptions, Images
from monai_gmcl.benchmark.label_kinds import MASKS, kind_of
from monai_gmcl.benchmark.student_run import StudentRun

OPTIONS = DataOptions("blobs", 1, masks=True, patch=16)


class Threshold(nn.Module):
    """Labels bright pixels, of any window."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(50.0))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(images), self.scale * (images - 0.5)], 1)


def blobs(n: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(n, 1, 24, 24, dtype=torch.uint8)
    for mask in masks:
        top, left = torch.randint(0, 14, (2,), generator=generator).tolist()
        mask[:, top : top + 10, left : left + 10] = 1
    return (0.3 + 0.4 * masks + 0.2 * torch.rand(masks.shape, generator=generator)).clamp(0, 1), masks


def test_dice_is_the_mean_over_images_and_an_empty_mask_does_not_count() -> None:
    image = torch.zeros(3, 1, 24, 24)
    image[0, :, :4, :5] = image[1, :, :4, :10] = image[2, 0, 0, 0] = 1.0
    mask = torch.zeros(3, 1, 24, 24, dtype=torch.uint8)
    mask[:2, :, :4, :5] = 1
    measures = MASKS.measures(Threshold(), (image, mask), OPTIONS)
    assert measures == pytest.approx({"dice": (1 + 2 / 3) / 2, "iou": (1 + 1 / 2) / 2})
    assert MASKS.score(Threshold(), (image, mask), OPTIONS)[0] == measures["dice"]


@pytest.mark.parametrize("arm", ["strong", "gmcl"])
def test_a_student_learns_masks_from_patches(arm: str) -> None:
    run = StudentRun(ARMS[arm].build, OPTIONS, blobs(3, 0), blobs(4, 1), seed=0, steps=40)
    run.run()
    assert run.kind is kind_of(OPTIONS) is MASKS
    assert set(run.valid_scores) == {"chosen", "final", "ema_chosen", "ema_final"}
    assert run.measures("chosen", blobs(4, 2))["dice"] > 0.85
    assert all(seen.shape[1:] == (1, 16, 16) for seen in run.seen)
    assert run.passes_per_step == MASKS.batch * (2 if arm == "gmcl" else 1)
