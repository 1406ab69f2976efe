# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of policies from teacher files of version 2."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.teachers.operations import OPERATIONS, OrientationOperation
from monai_gmcl.teachers.policy import LARGEST_SHARE, SMALLEST_SHARE

__all__ = ["policy_of_version_2"]

logger = logging.getLogger(__name__)

LARGEST_BEFORE = 3.0
"""Bound of shares in version 2, before their mean is subtracted."""


def policy_of_version_2(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return arguments and tensors of a :class:`monai_gmcl.PolicyTeacher` from those of format version 2.

    Policies of version 2 have no flips and quarter turns, and neither has the converted policy. Their shares are
    ``share = exp(z - mean(z))``, ``z = log 3 * tanh((log_share - mean(log_share)) / log 3)``. The converted teacher has
    the same shares, except that shares above 2 become 2, with a warning. Its latents have another layout.
    """
    suitable = [kind for kind in OPERATIONS if kind.suits(config["in_channels"])]
    known = [kind.name for kind in suitable if not issubclass(kind, OrientationOperation)]
    include, exclude = config.get("include"), config.get("exclude", ())
    names = [name for name in known if (include is None or name in include) and name not in exclude]
    log_share = tensors["log_share"]
    before = math.log(LARGEST_BEFORE)
    z = before * torch.tanh((log_share.double() - log_share.double().mean()) / before)
    logarithms = z - z.mean()
    cut = logarithms > math.log(LARGEST_SHARE)
    if cut.any():
        told = [f"{name} {float(logarithms[k].exp()):.2f}" for k, name in enumerate(names) if cut[k]]
        logger.warning(
            "Shares are now at most %g. These shares were higher and are reduced to it: %s.",
            LARGEST_SHARE,
            ", ".join(told),
        )
    up, down = math.log(LARGEST_SHARE), -math.log(SMALLEST_SHARE)
    # The bounds are not reached for finite values.
    reached = torch.where(logarithms > 0, logarithms / up, logarithms / down).clamp(-1 + 1e-4, 1 - 1e-4)
    converted = torch.where(logarithms > 0, up, down) * reached.atanh()
    return (
        {**config, "include": names},
        {**tensors, "log_share": converted.to(log_share), "log_odds": log_share.new_zeros(0)},
    )
