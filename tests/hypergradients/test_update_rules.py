# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RMSprop

from monai_gmcl import ExactHypergradient, register_update_rule
from monai_gmcl.hypergradients import update_rules
from monai_gmcl.hypergradients.update_rules import update_derivative

SETUPS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "plain": (SGD, {"lr": 0.1}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "dampening": (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (Adam, {"lr": 0.02}),
    "adam, large epsilon": (Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 0.1}),
    "adam, decoupled": (Adam, {"lr": 0.02, "eps": 0.1, "decoupled_weight_decay": True}),
    "adamw": (AdamW, {"lr": 0.02}),
    "adamw, large epsilon": (AdamW, {"lr": 0.02, "betas": (0.5, 0.99), "eps": 0.1}),
    "adamw, rate in a tensor": (AdamW, {"lr": torch.tensor(0.02, dtype=torch.float64), "eps": 0.1}),
}

OTHERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "momentum, maximize": (SGD, {"lr": 0.1, "momentum": 0.9, "maximize": True}),
    "adam, maximize": (Adam, {"lr": 0.02, "eps": 0.1, "maximize": True}),
    "adam, amsgrad": (Adam, {"lr": 0.02, "betas": (0.5, 0.5), "eps": 0.1, "amsgrad": True}),
    "adamw, amsgrad": (AdamW, {"lr": 0.02, "betas": (0.5, 0.6), "amsgrad": True}),
    "nadam": (NAdam, {"lr": 0.02, "eps": 0.1, "momentum_decay": 0.04}),
    "nadam, decoupled": (NAdam, {"lr": 0.02, "eps": 0.1, "decoupled_weight_decay": True}),
    "rmsprop": (RMSprop, {"lr": 0.02, "eps": 0.1}),
    "rmsprop, momentum": (RMSprop, {"lr": 0.02, "alpha": 0.8, "eps": 0.1, "momentum": 0.9}),
    "rmsprop, centered": (RMSprop, {"lr": 0.02, "alpha": 0.8, "eps": 0.1, "momentum": 0.5, "centered": True}),
    "rmsprop, centered, maximize": (RMSprop, {"lr": 0.02, "eps": 0.1, "centered": True, "maximize": True}),
}
"""Rules that are held against torch's own step alone."""


def textbook(kind: type[Optimizer], options: dict[str, Any], start: Tensor, gradients: list[Tensor]) -> Tensor:
    """Return where the published update ends after these gradients, as a function of them."""
    rate, decay = options["lr"], options.get("weight_decay", 0.0)
    coupled = kind is not AdamW and not options.get("decoupled_weight_decay", False)
    theta, seen = start, list[Tensor]()
    for g in gradients:
        if coupled:
            g = g + decay * theta
        else:
            theta = theta - rate * decay * theta
        seen.append(g)
        t = len(seen)
        if kind is SGD:
            momentum, kept = options.get("momentum", 0.0), 1 - options.get("dampening", 0.0)
            shares = [momentum ** (t - 1)] + [kept * momentum ** (t - 1 - k) for k in range(1, t)]
            velocity = torch.stack([share * past for share, past in zip(shares, seen, strict=True)]).sum(0)
            theta = theta - rate * (g + momentum * velocity if options.get("nesterov") else velocity)
        else:
            beta1, beta2 = options.get("betas", (0.9, 0.999))
            mean = torch.stack([beta1 ** (t - 1 - k) * past for k, past in enumerate(seen)]).sum(0)
            square = torch.stack([beta2 ** (t - 1 - k) * past**2 for k, past in enumerate(seen)]).sum(0)
            mean = mean / sum(beta1**k for k in range(t))
            square = square / sum(beta2**k for k in range(t))
            theta = theta - rate * mean / (square.sqrt() + options.get("eps", 1e-8))
    return theta


@pytest.fixture(params=[1, 2, 5], ids=lambda steps: f"step {steps}")
def gradients(request: pytest.FixtureRequest) -> list[Tensor]:
    """The gradients of so many steps; A is that of the last."""
    generator = torch.Generator().manual_seed(request.param)
    return [torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(request.param)]


def before_last_step(name: str, decay: float, gradients: list[Tensor]) -> tuple[nn.Parameter, Optimizer]:
    kind, options = {**SETUPS, **OTHERS}[name]
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(6, generator=generator, dtype=torch.float64))
    optimizer = kind([parameter], **options, weight_decay=decay)
    for gradient in gradients[:-1]:
        parameter.grad = gradient.clone()
        optimizer.step()
    parameter.grad = gradients[-1].clone()
    return parameter, optimizer


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", SETUPS)
def test_a_is_the_derivative_of_the_published_update(name: str, decay: float, gradients: list[Tensor]) -> None:
    parameter, optimizer = before_last_step(name, decay, gradients)
    found = update_derivative(optimizer, {parameter: "p"})["p"]
    kind, options = SETUPS[name]
    start = before_last_step(name, decay, gradients[:1])[0].detach()

    def end(last: Tensor) -> Tensor:
        return textbook(kind, {**options, "weight_decay": decay}, start, [*gradients[:-1], last])

    jacobian: Any = torch.autograd.functional.jacobian(end, gradients[-1])
    wanted = -jacobian.diagonal()
    assert torch.equal(jacobian, torch.diag(jacobian.diagonal()))
    # Autograd takes the difference of two rounded terms: on Adam's first step little is left of them.
    torch.testing.assert_close(found.expand(6), wanted, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", [*SETUPS, *OTHERS])
def test_a_is_the_derivative_of_torchs_own_step(name: str, decay: float, gradients: list[Tensor]) -> None:
    parameter, optimizer = before_last_step(name, decay, gradients)
    found = update_derivative(optimizer, {parameter: "p"})["p"]

    def end(moved: float) -> Tensor:
        copied, own = copy.deepcopy((parameter, optimizer))
        copied.grad = gradients[-1] + moved
        own.step()
        return copied.detach()

    width = 1e-4
    slope = (8 * (end(width) - end(-width)) - (end(2 * width) - end(-2 * width))) / (12 * width)
    torch.testing.assert_close(found.expand(6), -slope, rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_of_adam_is_exact_in_float32_from_the_first_step_on(kind: type[Optimizer], scale: float) -> None:
    """η ε / (|g| + ε)² is left of two terms near η/|g|: their rounded difference would be noise."""
    parameter = nn.Parameter(torch.zeros(50))
    parameter.grad = scale * torch.randn(50, generator=torch.Generator().manual_seed(0))
    found = update_derivative(kind([parameter], lr=0.01), {parameter: "p"})["p"].double()
    wanted = 0.01 * 1e-8 / (parameter.grad.double().abs() + 1e-8) ** 2
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_where_the_gradient_was_always_zero_is_the_rate_over_epsilon(kind: type[Optimizer]) -> None:
    parameter = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = kind([parameter], lr=0.01, betas=(0.5, 0.9))
    for _ in range(2):
        parameter.grad = torch.zeros(3, dtype=torch.float64)
        optimizer.step()
    found = update_derivative(optimizer, {parameter: "p"})["p"]
    # c1 = (1 - .5) / (1 - .5³) on the third step
    torch.testing.assert_close(found, torch.full_like(found, 0.01 * 0.5 / 0.875 / 1e-8), rtol=1e-12, atol=0.0)


def test_a_is_recorded_per_parameter_group_and_only_where_there_is_a_gradient() -> None:
    first, second, third = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = SGD([{"params": [first], "lr": 0.1}, {"params": [second, third], "lr": 0.5}], lr=1.0)
    first.grad, second.grad = torch.ones(2), torch.ones(2)
    found = update_derivative(optimizer, {first: "first", second: "second", third: "third"})
    assert {name: float(a) for name, a in found.items()} == pytest.approx({"first": 0.1, "second": 0.5})


@pytest.mark.parametrize("kind", [NAdam, RMSprop])
def test_a_of_others_where_the_gradient_was_always_zero_is_finite(kind: type[Optimizer]) -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.zeros(3)
    assert torch.isfinite(update_derivative(kind([parameter], lr=0.01), {parameter: "p"})["p"]).all()


def test_a_changes_neither_the_parameter_nor_the_optimizers_state() -> None:
    parameter, optimizer = before_last_step("adam", 0.1, [torch.ones(6, dtype=torch.float64)] * 3)
    copied = copy.deepcopy((parameter, optimizer.state_dict()["state"][0]))
    update_derivative(optimizer, {parameter: "p"})
    assert torch.equal(parameter, copied[0]) and torch.equal(parameter.grad, torch.ones(6))
    assert all(torch.equal(value, copied[1][key]) for key, value in optimizer.state[parameter].items())


@pytest.fixture
def rmsprop_rule() -> Iterator[None]:
    """A rule for RMSprop without momentum, removed again after the test."""

    def rule(group: Any, state: Any, parameter: Tensor, gradient: Tensor) -> Tensor:
        g = gradient + group["weight_decay"] * parameter
        kept = group["alpha"] * state.get("square_avg", torch.zeros_like(g))
        root = (kept + (1 - group["alpha"]) * g * g).sqrt()
        below = root + group["eps"]
        derivative: Tensor = group["lr"] * (1 / below - (1 - group["alpha"]) * g * g / (root * below**2))
        return derivative

    before = update_rules._RULES[torch.optim.RMSprop]
    register_update_rule(torch.optim.RMSprop, rule)
    yield
    register_update_rule(torch.optim.RMSprop, before)


@pytest.mark.usefixtures("rmsprop_rule")
def test_a_rule_of_the_users_own_serves_a_training(
    witness: Callable[..., Any], relative: Callable[[Tensor, Tensor], float]
) -> None:
    seen = witness("rmsprop")
    hypergradient, _ = ExactHypergradient()(*seen.heard())
    picked = seen.pixels(hypergradient, 5)
    assert relative(*picked) < 1e-5
