# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of a policy: a share moves as far as the evidence for it goes."""

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
    """Moves each number as far as the evidence of its gradients goes; without evidence it stays where it started.

    With running means m of a gradient and v of its square (weight of the past: ``memory``), ``z = m / se(m)`` says how
    many standard errors the gradient is from 0. The number moves, by ``lr`` of the way in each step, towards

        ``start - gain * softshrink(z, threshold)``

    Adam's step is as long whether a gradient means something or not, so that numbers without a signal walk at random.
    Here they do not: only evidence above the threshold counts.

    Args:
        params: logarithms, such as ``PolicyTeacher.log_share``. Those of a teacher from an earlier run start from what
            it has learned.
        lr: part of the way in a step, 0 to 1.
        memory: weight of the past in the running means, 0 to 1.
        gain: log units for each standard error above the threshold.
        threshold: standard errors without an effect.
        warm_up: steps in which evidence is gathered and nothing moves.

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
        """Take in the gradients and move."""
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
    # How many independent gradients the running mean is worth.
    count = (seen / (1 - memory)) ** 2 * (1 - memory**2) / (1 - memory ** (2 * step))
    error = ((square - mean**2).clamp_min(0) / max(count - 1, 1e-9)).sqrt()
    found: Tensor = torch.nan_to_num(mean / error, nan=0.0, posinf=0.0, neginf=0.0)
    return found
