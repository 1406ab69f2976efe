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

"""A = ∂U/∂g, the derivative of an optimizer's step U by this step's gradient g, its state held fixed.

A step is ``θ' = θ - U(g)``. For the rules here U is elementwise in g, so A has the parameter's shape, or is one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from monai_gmcl.exceptions import UnsupportedOptimizerError

__all__ = ["UpdateRule", "register_update_rule", "require_update_rule", "update_derivative"]

UpdateRule = Callable[[Mapping[str, Any], Mapping[str, Any], Tensor, Tensor], Tensor]
"""``(group options, state of the parameter before the step, parameter, gradient) -> A``."""


def sgd_rule(group: Mapping[str, Any], state: Mapping[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return A of :class:`torch.optim.SGD`: η, η(1 - dampening) with momentum, Nesterov's η(1 + μ(1 - dampening))."""
    momentum, rate = group["momentum"], group["lr"]
    if momentum == 0:
        factor = 1.0
    else:
        share = 1.0 if state.get("momentum_buffer") is None else 1.0 - group["dampening"]
        factor = 1.0 + momentum * share if group["nesterov"] else share
    return torch.as_tensor(rate * factor, dtype=gradient.dtype, device=gradient.device)


def adam_rule(group: Mapping[str, Any], state: Mapping[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return A of :class:`torch.optim.Adam` and :class:`torch.optim.AdamW`.

    ``η [ c1/(√v̂ + ε) - m̂ c2 g / (√v̂ (√v̂ + ε)²) ]`` with ``ci = (1 - βi)/(1 - βiᵗ)``, m̂ and v̂ with g in them. On one
    denominator g² cancels, with m and v as they were before the step::

        η [ ((1 - β1) β2 v - (1 - β2) β1 m g) / ((1 - β1ᵗ)(1 - β2ᵗ) √v̂) + c1 ε ] / (√v̂ + ε)²
    """
    if group["amsgrad"]:
        raise UnsupportedOptimizerError("Expected Adam or AdamW with amsgrad=False, got amsgrad=True.")
    beta1, beta2 = group["betas"]
    step = float(state["step"]) + 1 if "step" in state else 1.0
    coupled = group["weight_decay"] != 0 and not group.get("decoupled_weight_decay", False)
    g = gradient + group["weight_decay"] * parameter.detach() if coupled else gradient
    m, v = state.get("exp_avg", torch.zeros_like(g)), state.get("exp_avg_sq", torch.zeros_like(g))
    unbiased1, unbiased2 = 1 - beta1**step, 1 - beta2**step
    root = ((beta2 * v + (1 - beta2) * g * g) / unbiased2).sqrt()
    # Without g² on either side: rounded, its difference would hide all that is left of A on the first step.
    rest = ((1 - beta1) * beta2 * v - (1 - beta2) * beta1 * m * g) / (unbiased1 * unbiased2)
    # Where the gradient has always been 0, so are root and rest: the limit of their ratio there is 0.
    ratio = torch.where(root > 0, rest / root.clamp_min(torch.finfo(g.dtype).tiny), 0.0)
    c1 = (1 - beta1) / unbiased1
    derivative: Tensor = group["lr"] * (ratio + c1 * group["eps"]) / (root + group["eps"]) ** 2
    return derivative


_RULES: dict[type[Optimizer], UpdateRule] = {SGD: sgd_rule, Adam: adam_rule, AdamW: adam_rule}


def register_update_rule(optimizer_class: type[Optimizer], rule: UpdateRule) -> None:
    """Teach GMCL the update rule of another optimizer, elementwise in the gradient.

    Args:
        optimizer_class: the exact class; a subclass may step otherwise and needs a rule of its own.
        rule: ``(group, state, parameter, gradient) -> A``, shaped as the parameter or one number, computed *before* the
            step from the state as it stands then.
    """
    _RULES[optimizer_class] = rule


def require_update_rule(optimizer: Optimizer) -> UpdateRule:
    """Return the optimizer's rule.

    Raises:
        UnsupportedOptimizerError: none is known, or an option changes the rule.
    """
    rule = _RULES.get(type(optimizer))
    if rule is None:
        known = ", ".join(sorted(kind.__name__ for kind in _RULES))
        raise UnsupportedOptimizerError(
            f"The hypergradient needs the update rule of the student's optimizer. Expected one of {known}, got "
            f"{type(optimizer).__name__}. Pass a rule of your own: monai_gmcl.register_update_rule("
            f"{type(optimizer).__name__}, rule), where rule(group, state, parameter, gradient) returns the "
            "derivative of the step by the gradient."
        )
    for option in ("amsgrad", "maximize"):
        if any(group.get(option, False) for group in optimizer.param_groups):
            raise UnsupportedOptimizerError(
                f"Expected {type(optimizer).__name__} with {option}=False, got {option}=True."
            )
    return rule


@torch.no_grad()
def update_derivative(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """Return A for the step that the optimizer is about to make with the gradients in ``p.grad``.

    Args:
        optimizer: the student's, before its step.
        names: name of each parameter to report.

    Returns:
        A by name, for the parameters that have a gradient.
    """
    rule = require_update_rule(optimizer)
    return {
        names[parameter]: rule(group, optimizer.state.get(parameter, {}), parameter, parameter.grad)
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter in names and parameter.grad is not None
    }
