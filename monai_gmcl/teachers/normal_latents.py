# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Normal latents of teachers: one row for each image, which is split into parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.base import Teacher

__all__ = ["normal_latents", "split_latents"]


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
