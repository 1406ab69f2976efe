# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import nn

from studies.proof.gan_selection import select


class Classifier(nn.Module):
    """Features are the two pixels; the first says how sure class 1 is."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 2)
        self.last.weight.data = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
        self.last.bias.data.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(images.flatten(1))
        return found


def images(*pixels: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(pixels)[:, None, None]


def test_the_sure_and_typical_images_of_each_class_are_kept() -> None:
    real = images((1.0, 0.0), (1.0, 2.0), (-1.0, 0.0)), torch.tensor([1, 1, 0])
    # Class 1, center (1, 1): unsure; sure but far; sure and near; surest but farthest. Class 0: the last is near.
    drawn = (
        images((-2.0, 1.0), (2.0, 3.0), (1.5, 1.0), (3.0, -5.0), (-1.0, 9.0), (5.0, 0.0), (-2.0, 0.0), (-1.0, 8.0)),
        torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]),
    )
    assert select(drawn, real, Classifier(), keep=0.25).tolist() == [1, 6]
    assert select(drawn, real, Classifier(), keep=0.5).tolist() == [1, 2, 6, 7]
    assert select(drawn, real, Classifier(), keep=1.0).tolist() == list(range(8))
