# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""A = ∂U/∂g, the derivative of an optimizer's step U with respect to the gradient g, at fixed state.

A step is ``θ' = θ - U(g)``. For the rules here U is elementwise in g, so A has the parameter's shape, or is one number.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RMSprop

from monai_gmcl.exceptions import UnsupportedOptimizerError
from monai_gmcl.hypergradients.numerical_update import numerical_derivative

__all__ = ["UpdateRule", "check_optimizer", "register_update_rule", "update_derivative"]

logger = logging.getLogger(__name__)

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
    # Filled on the device, because the host would wait for a copy. With capturable=True, the learning rate is a tensor.
    if isinstance(rate, Tensor):
        return (rate * factor).to(gradient)
    return torch.full((), rate * factor, dtype=gradient.dtype, device=gradient.device)


def adam_rule(group: Mapping[str, Any], state: Mapping[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return A of :class:`torch.optim.Adam` and :class:`torch.optim.AdamW`.

    ``η [ c1/(√v̂ + ε) - m̂ c2 g / (√v̂ (√v̂ + ε)²) ]`` with ``ci = (1 - βi)/(1 - βiᵗ)``; m̂ and v̂ include g. With m
    and v from before the step, and a common denominator, g² cancels::

        η [ ((1 - β1) β2 v - (1 - β2) β1 m g) / ((1 - β1ᵗ)(1 - β2ᵗ) √v̂) + c1 ε ] / (√v̂ + ε)²

    With ``amsgrad``, where an older v is larger, it is the denominator and does not depend on g: ``η c1/(√v̂ + ε)``.
    """
    beta1, beta2 = group["betas"]
    step = _step_number(state)
    g = _decayed(group, parameter, gradient)
    m, v = state.get("exp_avg", torch.zeros_like(g)), state.get("exp_avg_sq", torch.zeros_like(g))
    unbiased1, unbiased2 = 1 - beta1**step, 1 - beta2**step
    root = ((beta2 * v + (1 - beta2) * g * g) / unbiased2).sqrt()
    # g² is canceled analytically: with rounding, its difference would dominate A in the first step.
    rest = ((1 - beta1) * beta2 * v - (1 - beta2) * beta1 * m * g) / (unbiased1 * unbiased2)
    c1 = (1 - beta1) / unbiased1
    derivative: Tensor = group["lr"] * (_ratio(rest, root) + c1 * group["eps"]) / (root + group["eps"]) ** 2
    if group["amsgrad"] and "max_exp_avg_sq" in state:
        largest = (state["max_exp_avg_sq"] / unbiased2).sqrt()
        derivative = torch.where(largest > root, group["lr"] * c1 / (largest + group["eps"]), derivative)
    return derivative


def _decayed(group: Mapping[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient, including weight decay if it is not decoupled."""
    coupled = group["weight_decay"] != 0 and not group.get("decoupled_weight_decay", False)
    return gradient + group["weight_decay"] * parameter.detach() if coupled else gradient


def _ratio(rest: Tensor, root: Tensor) -> Tensor:
    # If the gradient has always been 0, root and rest are 0, and the limit of their ratio is 0.
    return torch.where(root > 0, rest / root.clamp_min(torch.finfo(root.dtype).tiny), 0.0)


def _step_number(state: Mapping[str, Any]) -> Any:
    """Return the number of the next step, on the device if the optimizer counts there (fused, capturable)."""
    return _number(state.get("step", 0)) + 1.0


def _number(value: Any) -> Any:
    on_device = isinstance(value, Tensor) and value.device.type != "cpu"
    return value.double() if on_device else float(value)


def nadam_rule(group: Mapping[str, Any], state: Mapping[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return A of :class:`torch.optim.NAdam`, whose step is ``(a g + b m) / (√v̂ + ε)`` with g in m and v̂.

    With ``k = a + b (1 - β1)``, on one denominator as for Adam::

        [ (k β2 v - b β1 (1 - β2) m g) / ((1 - β2ᵗ) √v̂) + k ε ] / (√v̂ + ε)²
    """
    beta1, beta2 = group["betas"]
    step = _step_number(state)
    g = _decayed(group, parameter, gradient)
    m, v = state.get("exp_avg", torch.zeros_like(g)), state.get("exp_avg_sq", torch.zeros_like(g))
    now, after = (beta1 * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
    product = _number(state.get("mu_product", 1.0)) * now
    a, b = group["lr"] * (1 - now) / (1 - product), group["lr"] * after / (1 - product * after)
    k, unbiased2 = a + b * (1 - beta1), 1 - beta2**step
    root = ((beta2 * v + (1 - beta2) * g * g) / unbiased2).sqrt()
    rest = (k * beta2 * v - b * beta1 * (1 - beta2) * m * g) / unbiased2
    derivative: Tensor = (_ratio(rest, root) + k * group["eps"]) / (root + group["eps"]) ** 2
    return derivative


def rmsprop_rule(group: Mapping[str, Any], state: Mapping[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
    """Return A of :class:`torch.optim.RMSprop`: ``η (α s/√w + ε) / (√w + ε)²`` with ``w = α s + (1 - α) g²``.

    ``centered``, with m the mean of gradients before the step and m' after it: ``w - m'²`` instead of w, and ``α (s - m
    m')`` instead of ``α s``. Momentum adds a term that does not depend on g.
    """
    alpha = group["alpha"]
    g = _decayed(group, parameter, gradient)
    s = state.get("square_avg", torch.zeros_like(g))
    square, rest = alpha * s + (1 - alpha) * g * g, alpha * s
    if group["centered"]:
        m = state.get("grad_avg", torch.zeros_like(g))
        mean = alpha * m + (1 - alpha) * g
        square, rest = square - mean * mean, alpha * (s - m * mean)
    root = square.clamp_min(0).sqrt()
    derivative: Tensor = group["lr"] * (_ratio(rest, root) + group["eps"]) / (root + group["eps"]) ** 2
    return derivative


_RULES: dict[type[Optimizer], UpdateRule] = {
    SGD: sgd_rule,
    Adam: adam_rule,
    AdamW: adam_rule,
    NAdam: nadam_rule,
    RMSprop: rmsprop_rule,
}


def register_update_rule(optimizer_class: type[Optimizer], rule: UpdateRule) -> None:
    """Register the update rule of another optimizer, whose step is elementwise in the gradient.

    Args:
        optimizer_class: the exact class; a subclass needs its own rule.
        rule: ``(group, state, parameter, gradient) -> A``, a tensor of the parameter's shape or a number. It is called
            *before* the step, with the state at that time.
            With ``maximize=True``, it gets the negative gradient.
    """
    _RULES[optimizer_class] = rule


def check_optimizer(optimizer: Optimizer) -> None:
    """Raise UnsupportedOptimizerError if the step of an optimizer needs a closure (LBFGS)."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UnsupportedOptimizerError(
            f"{type(optimizer).__name__} evaluates the loss several times in a step (a closure), which "
            "SupervisedTrainer and GMCLTrainer do not support. Use another optimizer, such as torch.optim.AdamW."
        )


@torch.no_grad()
def update_derivative(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """Return A, by name, for the next step of the optimizer with the gradients in ``p.grad``.

    Parameters without a gradient are left out. If the class has no rule, A is the difference of two steps on copies
    (:func:`~monai_gmcl.hypergradients.numerical_update.numerical_derivative`). This is slow, and is logged once.
    """
    rule = _RULES.get(type(optimizer))
    if rule is None:
        _say_that_it_is_slow(type(optimizer).__name__)
        return numerical_derivative(optimizer, names)
    return {
        names[parameter]: _one(rule, group, optimizer.state.get(parameter, {}), parameter)
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter in names and parameter.grad is not None
    }


def _one(rule: UpdateRule, group: Mapping[str, Any], state: Mapping[str, Any], parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    # Maximizing is a step with the negative gradient.
    if group.get("maximize", False):
        return -rule(group, state, parameter, -parameter.grad)
    return rule(group, state, parameter, parameter.grad)


@cache
def _say_that_it_is_slow(name: str) -> None:
    known = ", ".join(sorted(one.__name__ for one in _RULES))
    logger.warning(
        "No update rule is known for %s. Its derivative is computed numerically, by two more steps on copies of all "
        "parameters, which is slow. Rules are known for %s. To add one, call monai_gmcl.register_update_rule(%s, "
        "rule), where rule(group, state, parameter, gradient) returns the derivative of the step by the gradient.",
        name,
        known,
        name,
    )
