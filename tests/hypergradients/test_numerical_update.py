# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.optimizers import Novograd
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, Adamax, AdamW, Optimizer, RAdam, RMSprop, lr_scheduler

from monai_gmcl.exceptions import UnsupportedOptimizerError
from monai_gmcl.hypergradients import update_rules
from monai_gmcl.hypergradients.numerical_update import numerical_derivative
from monai_gmcl.hypergradients.update_rules import check_optimizer, update_derivative


class OwnAdamW(AdamW):
    """A subclass may step otherwise: its rule is not taken from its base."""


class Lookahead(Optimizer):
    """Wraps another optimizer, as libraries do."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> None:
        self.inner.step()


def after(optimizer: Optimizer, parameter: nn.Parameter, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    for step in range(steps + 1):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        if step < steps:
            optimizer.step()


def fresh() -> nn.Parameter:
    return nn.Parameter(torch.randn(5, 4, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
        (Adam, {"lr": 0.02, "weight_decay": 0.1}),
        (Adam, {"lr": 0.02, "maximize": True}),
        (RMSprop, {"lr": 0.02, "centered": True}),
    ],
)
def test_the_difference_of_two_steps_is_the_rule(kind: Any, options: dict[str, Any], steps: int) -> None:
    parameter = fresh()
    optimizer = kind([parameter], **options)
    after(optimizer, parameter, steps)
    found = numerical_derivative(optimizer, {parameter: "p"})["p"]
    wanted = update_derivative(optimizer, {parameter: "p"})["p"].expand(5, 4)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("kind", [Adagrad, Adamax, RAdam, OwnAdamW])
def test_any_other_optimizer_has_the_slope_of_its_own_step(kind: type[Optimizer]) -> None:
    parameter = fresh()
    optimizer = kind([parameter], lr=0.05)  # type: ignore[call-arg]
    after(optimizer, parameter, 6)
    found = update_derivative(optimizer, {parameter: "p"})["p"]

    def end(moved: float) -> Tensor:
        state = copy.deepcopy(optimizer.state_dict())
        own = nn.Parameter(parameter.detach().double())
        other = kind([own], lr=0.05)  # type: ignore[call-arg]
        other.load_state_dict(state)
        own.grad = parameter.grad.double() * (1 + moved)  # type: ignore[union-attr]
        other.step()
        return own.detach()

    slope = (end(-1e-5) - end(1e-5)) / (2e-5 * parameter.grad.double())  # type: ignore[union-attr]
    torch.testing.assert_close(found.double(), slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", [Adagrad, Novograd, OwnAdamW, lambda p: Lookahead(Adam(p))])
def test_the_optimizer_and_all_that_hangs_on_it_stay_as_they_are(kind: Any) -> None:
    parameter, calls = fresh(), []
    optimizer = kind([parameter])
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    after(optimizer, parameter, 2)
    scheduler.step()
    before = copy.deepcopy((parameter.detach(), parameter.grad, optimizer.state_dict()))
    drawn = torch.get_rng_state()
    found = update_derivative(optimizer, {parameter: "p"})["p"]
    assert torch.isfinite(found).all() and found.shape == (5, 4)
    assert torch.equal(parameter, before[0]) and torch.equal(parameter.grad, before[1])  # type: ignore[arg-type]
    assert str(optimizer.state_dict()) == str(before[2]) and len(calls) == 2
    assert torch.equal(torch.get_rng_state(), drawn)


def test_it_is_said_once_that_it_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    update_rules._say_that_it_is_slow.cache_clear()
    for _ in range(2):
        parameter = fresh()
        optimizer = Adagrad([parameter])
        after(optimizer, parameter, 1)
        update_derivative(optimizer, {parameter: "p"})
    assert caplog.text.count("No update rule is known for Adagrad") == 1
    assert "Rules are known for Adam, AdamW" in caplog.text and "register_update_rule(Adagrad" in caplog.text


def test_parameters_without_gradient_and_unnamed_ones_are_left_out() -> None:
    first, second, third = fresh(), fresh(), fresh()
    optimizer = Adagrad([{"params": [first]}, {"params": [second, third], "lr": 0.5}])
    first.grad, third.grad = torch.ones(5, 4), torch.ones(5, 4)
    assert numerical_derivative(optimizer, {first: "first", second: "second"}).keys() == {"first"}


class Closing(SGD):
    def step(self, closure: Any) -> None:  # type: ignore[override]
        closure()


class Failing(SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise KeyError("state")


def test_optimizers_that_cannot_be_asked_are_refused() -> None:
    check_optimizer(SGD([fresh()], lr=0.1))
    for kind in (torch.optim.LBFGS, Closing):
        with pytest.raises(
            UnsupportedOptimizerError, match=rf"{kind.__name__} evaluates the loss several times .*\(a closure\)"
        ):
            check_optimizer(kind([fresh()]))
    parameter = fresh()
    optimizer = Failing([parameter], lr=0.1)
    parameter.grad = torch.ones(5, 4)
    with pytest.raises(
        UnsupportedOptimizerError, match=r"a copy of it cannot take a step: 'state'.*register_update_rule\(Fail"
    ):
        numerical_derivative(optimizer, {parameter: "p"})
