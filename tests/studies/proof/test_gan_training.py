# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from studies.proof.gan_training import GanOptions, TrainedGenerator, draw, train_gan

SMALL = GanOptions(channels=4, batch=16, learning_rate=5e-3, average=0.05)


def labeled() -> tuple[torch.Tensor, torch.Tensor]:
    """Dark images of class 0 and light ones of class 1."""
    labels = torch.arange(20) % 2
    noise = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.3 * noise + 0.7 * labels[:, None, None, None], labels


@pytest.fixture(scope="module")
def trained() -> TrainedGenerator:
    return train_gan(*labeled(), 2, 300, seed=0, options=SMALL)


def test_the_generator_learns_what_the_classes_look_like(trained: TrainedGenerator) -> None:
    labels = torch.arange(40) % 2
    levels = draw(trained.network, labels, seed=1).mean((1, 2, 3))
    assert levels[labels == 0].max() < 0.4 and levels[labels == 1].min() > 0.5
