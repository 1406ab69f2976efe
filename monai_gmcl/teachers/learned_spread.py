# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learned magnitudes of a teacher's changes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MOST_GAIN", "learned_gain", "squash"]

MOST_GAIN = 1.7
"""A learned magnitude stays between 1 / 1.7 = .59 and 1.7 times its start.

Why not a half and two: behind the magnitude come an exponential or a clamp, and what is left of the spread of the
*images* must still be half.
"""


def learned_gain(logit: Tensor) -> Tensor:
    """Positive factor ``1.7 ** tanh(logit)``: 1 at logit 0, never so small that draws become alike.

    A teacher whose random amounts are ``gain * latent`` cannot trade its diversity for any gain, however long it is
    trained: the spread of the amounts stays at least .59 of the untrained one.
    """
    return torch.pow(MOST_GAIN, torch.tanh(logit))


def squash(amount: Tensor, bound: float) -> Tensor:
    """Amounts that grow straight at first and never pass the bound: ``bound * tanh(amount / bound)``."""
    return bound * torch.tanh(amount / bound)
