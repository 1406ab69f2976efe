# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from monai_gmcl.exceptions import NonFiniteLossError

__all__ = ["FiniteWeights", "not_finite"]


class FiniteWeights:
    """Finds weights and running statistics that have become NaN or infinite, which no loss may ever show.

    A running statistic is not read in training, and after the last step no loss is taken.

    Args:
        networks: by what error messages call them.
    """

    def __init__(self, **networks: nn.Module) -> None:
        self.networks = networks
        self._as_built: dict[str, set[str]] = {}

    def begin(self) -> None:
        """Note what is not finite on purpose, such as a mask."""
        self._as_built = {name: set(not_finite(network)) for name, network in self.networks.items()}

    def check(self, iteration: int) -> None:
        """Raise unless all else is finite.

        Args:
            iteration: after which it is looked at.

        Raises:
            NonFiniteLossError: with the first weight or statistic that is not.
        """
        for name, network in self.networks.items():
            found = next((key for key in not_finite(network) if key not in self._as_built.get(name, set())), None)
            if found is not None:
                raise NonFiniteLossError(
                    f"The {name}'s {found} holds NaN or infinite values after iteration {iteration}, though each loss "
                    "was finite. Lower the learning rate, look for images of extreme values, or go on from the last "
                    "checkpoint."
                )


def not_finite(network: nn.Module) -> Iterator[str]:
    """Yield the names of weights and buffers that hold NaN or infinite values."""
    named = [*network.named_parameters(), *network.named_buffers()]
    floats = {key: tensor for key, tensor in named if not is_lazy(tensor) and tensor.is_floating_point()}
    if floats:
        device = next(iter(floats.values())).device
        # Read at once: each answer alone would let the host wait for the device.
        finite = torch.stack([torch.isfinite(tensor).all().to(device) for tensor in floats.values()]).tolist()
        yield from (key for key, is_finite in zip(floats, finite, strict=True) if not is_finite)
