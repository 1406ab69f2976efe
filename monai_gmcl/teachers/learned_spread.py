# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learned magnitudes of a teacher's changes."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_GAIN = 1.7
"""A learned magnitude stays between 1 / 1.7 = .59 and 1.7 times its start.

Why not a half and two: behind the magnitude come an exponential or a clamp, and what is left of the spread of the
*images* must still be half.
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
