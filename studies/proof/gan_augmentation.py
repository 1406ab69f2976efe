# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the discriminator looks through, so that it cannot learn a few images by heart."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["augment"]


CHANCE = 0.7
"""Of each change. Changes of every image would come to show in what is generated (Karras et al. 2020)."""
GRAY = 0.5


def augment(images: Tensor, generator: torch.Generator, orientations: bool) -> Tensor:
    """Change each image at random, differentiably, before the discriminator sees it, real or generated.

    So that a discriminator of few images does not learn them by heart (DiffAugment, Zhao et al. 2020, arXiv
    2006.10738): colors, a shift of up to an eighth of the size, and a gray square of half the size. Each is left out
    for some images, so that the discriminator knows images without it, and the generator learns to make none (Karras et
    al. 2020, arXiv 2006.06676).

    Args:
        images: ``(B, C, *spatial)`` from 0 to 1; results may leave that range.
        generator: of the random numbers, on the CPU.
        orientations: flips and quarter turns as well; microscopy has no up and down.
    """
    if orientations:
        images = _turn(images, generator)
    for change in (_recolor, _shift, _hide):
        chosen = _uniform(images, generator, 0, 1) < CHANCE
        images = torch.where(chosen, change(images, generator), images)
    return images


def _recolor(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, saturation, contrast."""
    images = images + _uniform(images, generator, -0.25, 0.25)
    if images.shape[1] == 3:
        gray = images.mean(1, keepdim=True)
        images = gray + (images - gray) * _uniform(images, generator, 0.0, 2.0)
    mean = images.mean(list(range(1, images.ndim)), keepdim=True)
    return mean + (images - mean) * _uniform(images, generator, 0.5, 1.5)


def _shift(images: Tensor, generator: torch.Generator) -> Tensor:
    for axis in range(2, images.ndim):
        side = images.shape[axis]
        reach = max(1, side // 8)
        source = _places(images, axis) + _integers(images, generator, -reach, reach)
        outside = (source < 0) | (source >= side)
        images = images.gather(axis, source.clamp(0, side - 1).expand(images.shape)).masked_fill(outside, GRAY)
    return images


def _hide(images: Tensor, generator: torch.Generator) -> Tensor:
    hidden = torch.ones(len(images), *[1] * (images.ndim - 1), dtype=torch.bool, device=images.device)
    for axis in range(2, images.ndim):
        side = images.shape[axis]
        hidden = hidden & ((_places(images, axis) - _integers(images, generator, 0, side)).abs() < side // 4)
    return images.masked_fill(hidden, GRAY)


def _turn(images: Tensor, generator: torch.Generator) -> Tensor:
    for axis in range(2, images.ndim):
        images = torch.where(_integers(images, generator, 0, 1).bool(), images.flip(axis), images)
    if images.shape[-1] == images.shape[-2]:
        images = torch.where(_integers(images, generator, 0, 1).bool(), images.transpose(-1, -2), images)
    return images


def _uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(images), *[1] * (images.ndim - 1), generator=generator).to(images.device)


def _integers(images: Tensor, generator: torch.Generator, low: int, high: int) -> Tensor:
    drawn = torch.randint(low, high + 1, (len(images), *[1] * (images.ndim - 1)), generator=generator)
    return drawn.to(images.device)


def _places(images: Tensor, axis: int) -> Tensor:
    return torch.arange(images.shape[axis], device=images.device).view(
        *[-1 if i == axis else 1 for i in range(images.ndim)]
    )
