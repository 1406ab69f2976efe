# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The momentum of a running average, which starts low so that initial weights are soon forgotten."""

from __future__ import annotations

__all__ = ["average_momentum"]


def average_momentum(momentum: float, step: int) -> float:
    """Return the weight of the current parameters in an average at a step: at least ``9 / (step + 8)``.

    The initial parameters must have little weight after a few steps. With a plain mean, ``1 / step``, running
    variances, which start at 1, still dominate the average after 200 steps on PCam: the AUC of the average is .58, that
    of the student .80. The rule is that of TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``, shifted by
    one step. The first weight is 1, because the average may have been created before weights were loaded or
    synchronized between ranks.

    Args:
        momentum: weight after many steps, above 0 and below 1.
        step: number of the step, starting at 1.
    """
    return max(momentum, 9 / (step + 8))
