# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learned magnitudes of a teacher's changes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MOST_GAIN", "learned_gain", "squash"]

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
