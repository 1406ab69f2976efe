# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Normal latents of teachers, one row for each image, and the learned, bounded amounts that they become."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.base import Teacher

__all__ = ["MOST_GAIN", "learned_gain", "normal_latents", "split_latents", "squash"]


def normal_latents(
    teacher: Teacher, n: int, size: int, image_shape: Sequence[int], generator: torch.Generator | None
) -> Tensor:
    """Check channels and dimensions of the images, and draw normal numbers ``(n, size)`` on the generator's device."""
    teacher.check_shape(image_shape)
    device = torch.device("cpu") if generator is None else generator.device
    return torch.randn(n, size, generator=generator, device=device)


def split_latents(latents: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Split latents ``(B, sum(sizes))`` into parts; ConfigurationError for another shape."""
    if latents.ndim != 2 or latents.shape[1] != sum(sizes):
        raise ConfigurationError(f"Expected latents (B, {sum(sizes)}) of draw_latents, got {tuple(latents.shape)}.")
    return tuple(torch.split(latents, list(sizes), 1))


MOST_GAIN = 1.7
"""Bound of learned magnitudes: between 1 / 1.7 = .59 and 1.7 times the initial value.

The bound is less than 2, so that the diversity of the *images*, after an exponential or a clamp, is still at least half
of the initial diversity.
"""


def learned_gain(logit: Tensor) -> Tensor:
    """Return the factor ``1.7 ** tanh(logit)``, from 1/1.7 to 1.7: 1 at logit 0.

    If the random amounts of a teacher are ``gain * latent``, their spread is at least .59 of the initial spread, even
    after long training.
    """
    return torch.pow(MOST_GAIN, torch.tanh(logit))


def squash(amount: Tensor, bound: float) -> Tensor:
    """Return ``bound * tanh(amount / bound)``: linear for small amounts, and bounded."""
    return bound * torch.tanh(amount / bound)
