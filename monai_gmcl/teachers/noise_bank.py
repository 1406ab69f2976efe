# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A bank of normal numbers on the device; a few latents select the noise of an image."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["DRAWS", "bank_noise"]

DRAWS = 4
"""Number of uniform latents for the noise of an image, for any amount of noise."""
ROWS, WIDTH = 2**14, 64
SIGNS = 16381
"""A prime, so that signs and rows repeat with different periods."""
SEED = 26


def bank_noise(draws: Tensor, count: int) -> Tensor:
    """Return ``count`` standard normal numbers for each image, ``(B, count)``, from draws ``(B, 4)`` uniform in [0, 1).

    A bank of 2^20 normal numbers, drawn once, stays on the device. An image reads rows of 64 numbers, starting at an
    offset with an odd stride, and a list of signs in the same way: row j is ``sign[(c + d j) mod 16381] * bank[(a + b
    j) mod 2^14]``. No row is repeated within 2^20 numbers. The same draws give the same bits on every CPU. No number is
    drawn on the host, copied to the device or read from it.
    """
    bank, signs = _bank(draws.device, draws.dtype)
    # In float32, like the draws, so that the rows do not depend on the precision of the images.
    offset, stride, sign_offset, sign_stride = draws.detach().float().unsqueeze(-1).unbind(1)
    step = torch.arange(math.ceil(count / WIDTH), device=draws.device)
    rows = _whole(offset, ROWS) + (2 * _whole(stride, ROWS // 2) + 1) * step
    turns = _whole(sign_offset, SIGNS) + (1 + _whole(sign_stride, SIGNS - 1)) * step
    noise = bank[rows % ROWS] * signs[turns % SIGNS].unsqueeze(-1)
    return noise.flatten(1)[:, :count]


def _whole(uniform: Tensor, count: int) -> Tensor:
    return (uniform * count).long() % count


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _bank(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return normal numbers ``(2^14, 64)`` and signs ``(16381,)``, drawn on the CPU for all devices."""
    generator = torch.Generator("cpu").manual_seed(SEED)
    # Rounded from float64, because the last bits of a logarithm differ between processors.
    bank = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64, device="cpu").float()
    signs = 2 * torch.randint(2, (SIGNS,), generator=generator, device="cpu") - 1
    return bank.to(device, dtype), signs.to(device, dtype)
