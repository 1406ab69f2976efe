# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of a policy: it changes a share only as far as the gradients are evidence for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softshrink
from torch.optim import Optimizer

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["EvidenceOptimizer"]


class EvidenceOptimizer(Optimizer):
    """Moves each parameter away from its start only as far as its gradients are statistical evidence for it.

    m and v are running means of the gradient and of its square (weight of the past: ``memory``). ``z = m / se(m)`` is
    the distance of the mean gradient from 0 in standard errors. In each step the parameter moves by the fraction ``lr``
    of the way to

        ``start - gain * softshrink(z, threshold)``

    The length of Adam's step does not depend on whether the gradient is signal or noise, so that parameters without a
    signal drift at random. Here only evidence above the threshold has an effect.

    Args:
        params: logarithms, such as ``PolicyTeacher.log_share``. Parameters of a teacher from an earlier run start at
            their learned values.
        lr: fraction of the way in each step, 0 to 1.
        memory: weight of the past in the running means, 0 to 1.
        gain: log units for each standard error above the threshold.
        threshold: number of standard errors without an effect.
        warm_up: number of steps that only collect evidence.

    Raises:
        ConfigurationError: an option outside its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        memory: float = 0.99,
        gain: float = 1.0,
        threshold: float = 1.5,
        warm_up: int = 20,
    ) -> None:
        accepted = (0 < lr <= 1, 0 <= memory < 1, gain >= 0, threshold >= 0, warm_up >= 0)
        defaults = {"lr": lr, "memory": memory, "gain": gain, "threshold": threshold, "warm_up": warm_up}
        if not all(accepted):
            (name, value), *_ = [pair for pair, fits in zip(defaults.items(), accepted, strict=True) if not fits]
            raise ConfigurationError(
                "EvidenceOptimizer: expected 0 < lr <= 1, 0 <= memory < 1, and gain, threshold and warm_up of at least "
                f"0, got {name} {value}."
            )
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the evidence with the current gradients and move the parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def evidence(self, parameter: Tensor) -> Tensor:
        """Return z, shaped as the parameter; 0 before the second step."""
        (group,) = (g for g in self.param_groups if any(p is parameter for p in g["params"]))
        state = self.state[parameter]
        return _evidence(state, group["memory"]) if state else torch.zeros_like(parameter)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, memory = self.state[parameter], group["memory"]
        if not state:
            state.update(step=0, start=parameter.clone(), mean=torch.zeros_like(parameter))
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["mean"].mul_(memory).add_(gradient, alpha=1 - memory)
        state["square"].mul_(memory).addcmul_(gradient, gradient, value=1 - memory)
        if state["step"] > group["warm_up"]:
            target = state["start"] - group["gain"] * softshrink(_evidence(state, memory), group["threshold"])
            parameter.lerp_(target, group["lr"])


def _evidence(state: dict[str, Any], memory: float) -> Tensor:
    step = state["step"]
    seen = 1 - memory**step
    mean, square = state["mean"] / seen, state["square"] / seen
    # The effective number of independent gradients in the running mean.
    count = (seen / (1 - memory)) ** 2 * (1 - memory**2) / (1 - memory ** (2 * step))
    error = ((square - mean**2).clamp_min(0) / max(count - 1, 1e-9)).sqrt()
    found: Tensor = torch.nan_to_num(mean / error, nan=0.0, posinf=0.0, neginf=0.0)
    return found
