# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from studies.proof.gan_augmentation import augment


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_each_image_is_changed_in_its_own_way_and_the_seed_repeats_it() -> None:
    images = torch.rand(1, 3, 16, 16).expand(8, 3, 16, 16)
    found = augment(images, generator(), orientations=True)
    assert torch.equal(found, augment(images, generator(), orientations=True))
    assert found.shape == images.shape and len(torch.unique(found.flatten(1), dim=0)) == 8


def test_gradients_reach_the_images() -> None:
    images = torch.rand(64, 1, 8, 8, requires_grad=True)
    augment(images, generator(), orientations=True).square().sum().backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()
    assert ((images.grad != 0).flatten(1).double().mean(1) > 0.2).all()


def test_upright_images_stay_upright_and_others_are_turned() -> None:
    images = torch.linspace(0, 1, 16)[:, None].expand(200, 1, 16, 16)
    slopes = {}
    for orientations in (False, True):
        rows = augment(images, generator(), orientations)
        slopes[orientations] = rows[:, 0, 8:].mean((1, 2)) - rows[:, 0, :8].mean((1, 2))
    assert (slopes[False] > 0).all()
    # An eighth of each orientation: a quarter point up, a quarter down, half sideways.
    assert 0.15 < (slopes[True] > 0.1).double().mean() < 0.35 and 0.15 < (slopes[True] < -0.1).double().mean() < 0.35
