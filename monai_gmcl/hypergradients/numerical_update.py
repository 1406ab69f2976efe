# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The derivative of any optimizer's step, as a finite difference of two steps."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from monai_gmcl.exceptions import UnsupportedOptimizerError

__all__ = ["numerical_derivative"]

RELATIVE_STEP = 1e-4
HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def numerical_derivative(optimizer: Optimizer, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
    """Return A of any optimizer by a central difference of its ``step``, on two copies in double precision.

    Elements of the gradient are changed by a small fraction of their own size plus a small fraction of the size of
    their tensor, half of them up and half of them down. For an elementwise step, the difference is A. Otherwise (for
    example, if the step uses the norm of the tensor), the difference is the elementwise part of the derivative. The
    optimizer, its parameters and their gradients do not change, and its hooks are not called. A is returned by name,
    for parameters with a gradient. UnsupportedOptimizerError if the optimizer cannot be copied, or its copy cannot
    step.
    """
    signs = torch.Generator().manual_seed(0)
    moves: list[Tensor | None] = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            moves.append(None if parameter.grad is None else _move(parameter.grad, signs))
    try:
        ends = [_stepped(optimizer, moves, direction) for direction in (1.0, -1.0)]
    except Exception as error:  # the step of an unknown optimizer may raise any error
        name = type(optimizer).__name__
        raise UnsupportedOptimizerError(
            f"No update rule is known for {name}, and a copy of it cannot take a step: {error}. Register a rule with "
            f"monai_gmcl.register_update_rule({name}, rule), or use torch.optim.AdamW."
        ) from error
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    derivative = {}
    for parameter, move, up, down in zip(parameters, moves, *ends, strict=True):
        if move is not None and parameter in names:
            # θ' = θ - U(g)
            derivative[names[parameter]] = ((down - up) / (2 * move)).to(parameter.dtype)
    return derivative


def _move(gradient: Tensor, signs: torch.Generator) -> Tensor:
    sign = torch.randint(0, 2, gradient.shape, generator=signs, dtype=torch.float64).to(gradient.device) * 2 - 1
    size = gradient.double().abs()
    typical = size.square().mean().sqrt()
    scale = torch.maximum(size, 0.01 * typical) if typical > 0 else torch.ones_like(size)
    return sign * RELATIVE_STEP * scale


def _stepped(optimizer: Optimizer, moves: list[Tensor | None], direction: float) -> list[Tensor]:
    """Return the parameters after a step of a copy of the optimizer with changed gradients."""
    twin = _twin(optimizer)
    parameters = [p for group in twin.param_groups for p in group["params"]]
    originals = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, original, move in zip(parameters, originals, moves, strict=True):
        parameter.grad = None if move is None else original.grad.double() + direction * move
    with torch.random.fork_rng(devices=[p.device for p in parameters[:1] if p.device.type == "cuda"]):
        torch.manual_seed(0)
        # Not twin.step, because schedulers replace it by a counting function that belongs to the first optimizer.
        type(twin).step(twin)
    return [p.detach() for p in parameters]


def _twin(optimizer: Optimizer) -> Optimizer:
    own = {name: value for name, value in vars(optimizer).items() if name not in (*HOOKS, "step")}
    twin = object.__new__(type(optimizer))
    twin.__dict__.update(copy.deepcopy(own))
    twin.__setstate__({})  # empty hooks
    _make_double(twin)
    return twin


def _make_double(optimizer: Optimizer) -> None:
    for name in ("param_groups", "state"):
        setattr(optimizer, name, _double(getattr(optimizer, name)))
    for inner in vars(optimizer).values():
        if isinstance(inner, Optimizer):
            _make_double(inner)


def _double(value: Any) -> Any:
    """Return a copy with floating-point tensors in double precision; parameters stay the same objects."""
    if isinstance(value, torch.nn.Parameter) or (isinstance(value, Tensor) and value.requires_grad):
        value.data = value.data.double()
        return value
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, defaultdict):
        return defaultdict(value.default_factory, {_double(k): _double(v) for k, v in value.items()})
    if isinstance(value, dict):
        return {_double(k): _double(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_double(item) for item in value)
    return value
