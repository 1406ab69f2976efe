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

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from monai_gmcl.exceptions import UnsupportedOptimizerError
from monai_gmcl.hypergradients import register_update_rule, update_rules
from monai_gmcl.hypergradients.update_rules import require_update_rule, update_derivative

MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, wd: torch.optim.SGD(p, lr=0.1, weight_decay=wd),
    "momentum": lambda p, wd: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=wd),
    "dampening": lambda p, wd: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.4, weight_decay=wd),
    "nesterov": lambda p, wd: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=wd),
    "adam": lambda p, wd: torch.optim.Adam(p, lr=0.02, weight_decay=wd),
    "adamw": lambda p, wd: torch.optim.AdamW(p, lr=0.02, weight_decay=wd),
}


def stepped(maker: Callable[..., torch.optim.Optimizer], decay: float, gradients: list[torch.Tensor]) -> torch.Tensor:
    """Return where torch's own optimizer ends after these gradients."""
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(6, dtype=torch.float64))
    optimizer = maker([parameter], decay)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", MAKERS)
def test_a_is_the_derivative_of_torchs_own_step_by_the_last_gradient(name: str, decay: float, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    gradients = [torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(steps)]
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(6, dtype=torch.float64))
    optimizer = MAKERS[name]([parameter], decay)
    for gradient in gradients[:-1]:
        parameter.grad = gradient.clone()
        optimizer.step()
    parameter.grad = gradients[-1].clone()
    found = update_derivative(optimizer, {parameter: "p"})["p"]
    up = stepped(MAKERS[name], decay, [*gradients[:-1], gradients[-1] + 1e-6])
    down = stepped(MAKERS[name], decay, [*gradients[:-1], gradients[-1] - 1e-6])
    torch.testing.assert_close(found.expand(6), -(up - down) / 2e-6, rtol=1e-6, atol=1e-9)


def test_a_parameter_that_never_had_a_gradient_has_a_finite_derivative() -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.zeros(3)
    assert torch.isfinite(update_derivative(torch.optim.Adam([parameter]), {parameter: "p"})["p"]).all()


def test_a_is_recorded_per_parameter_group_and_only_where_there_is_a_gradient() -> None:
    first, second, third = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": [second, third], "lr": 0.5}], lr=1.0)
    first.grad, second.grad = torch.ones(2), torch.ones(2)
    found = update_derivative(optimizer, {first: "first", second: "second", third: "third"})
    assert {name: float(a) for name, a in found.items()} == pytest.approx({"first": 0.1, "second": 0.5})


def test_an_unknown_optimizer_is_refused_with_what_is_known_and_how_to_teach_another() -> None:
    optimizer = torch.optim.RMSprop([nn.Parameter(torch.ones(1))])
    with pytest.raises(UnsupportedOptimizerError, match=r"one of Adam, AdamW, SGD, got RMSprop.*register_update_rule"):
        require_update_rule(optimizer)


@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
def test_options_that_change_the_rule_are_refused(option: str) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], **{option: True})
    with pytest.raises(UnsupportedOptimizerError, match=f"{option}=False, got {option}=True"):
        require_update_rule(optimizer)


def test_a_rule_of_the_users_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_rules, "_RULES", dict(update_rules._RULES))
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    register_update_rule(torch.optim.RMSprop, lambda group, state, p, g: torch.full_like(p, 7.0))
    found = update_derivative(torch.optim.RMSprop([parameter]), {parameter: "p"})
    assert found["p"].tolist() == [7.0, 7.0]
