# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
