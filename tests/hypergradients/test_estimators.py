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
from typing import Any

import pytest
import torch
from torch import Tensor

from monai_gmcl import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    HeadHypergradient,
    Lesson,
    UnrolledHypergradient,
)
from monai_gmcl.exceptions import ConfigurationError, HeadNotFoundError

OPTIMIZERS = ["sgd", "momentum", "nesterov", "adam", "adamw"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "estimator", [ForwardHypergradient(), UnrolledHypergradient(1)], ids=lambda e: type(e).__name__
)
def test_forward_and_one_unrolled_step_equal_the_exact_hypergradient(
    optimizer: str, estimator: Any, spied: Callable[..., Any], relative: Callable[[Tensor, Tensor], float]
) -> None:
    spy, _ = spied(optimizer)
    exact, worth = ExactHypergradient()(spy.lessons, spy.look_ahead)
    found, found_worth = estimator(spy.lessons, spy.look_ahead)
    assert relative(found, exact) < 1e-10
    assert relative(found_worth, worth) < 1e-10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_finite_difference_comes_close_to_the_exact_hypergradient(
    optimizer: str, spied: Callable[..., Any], relative: Callable[[Tensor, Tensor], float]
) -> None:
    spy, _ = spied(optimizer)
    exact, worth = ExactHypergradient()(spy.lessons, spy.look_ahead)
    found, found_worth = FiniteDifferenceHypergradient()(spy.lessons, spy.look_ahead)
    assert relative(found, exact) < 1e-6
    assert relative(found_worth, worth) < 1e-6


@pytest.mark.parametrize("lookback", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_hypergradient_is_what_torchs_own_optimizer_makes_of_a_moved_pixel(
    optimizer: str, lookback: int, spied: Callable[..., Any], true_step: Callable[..., Any]
) -> None:
    spy, trainer = spied(optimizer, lookback=lookback, steps=3)
    hypergradient, worth = UnrolledHypergradient(lookback)(spy.lessons, spy.look_ahead)
    term = true_step(spy, trainer, optimizer)
    images = [lesson.images.detach() for lesson in spy.lessons]
    weights = [lesson.weights for lesson in spy.lessons]
    scale = spy.lessons[0].lesson_weight
    generator = torch.Generator().manual_seed(1)
    for index, part in enumerate(hypergradient.split([len(x) for x in images])):
        direction = torch.randn(images[index].shape, generator=generator, dtype=torch.float64)
        moved = [
            [x + sign * 1e-5 * direction if i == index else x for i, x in enumerate(images)] for sign in (1.0, -1.0)
        ]
        slope = (term(moved[0], weights) - term(moved[1], weights)) / 2e-5 / scale
        assert float((part * direction).sum()) == pytest.approx(float(slope), rel=1e-5)
    for index in range(len(images)):
        one = torch.zeros_like(weights[index])
        one[1] = 1e-5
        up, down = ([w + s * one if i == index else w for i, w in enumerate(weights)] for s in (1.0, -1.0))
        slope = (term(images, up) - term(images, down)) / 2e-5 / scale
        position = sum(len(x) for x in images[:index]) + 1
        assert float(worth[position]) == pytest.approx(float(-len(one) * slope), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
@pytest.mark.parametrize(
    "loss",
    ["cross-entropy", "class weights", "label smoothing", "focal", "MONAI's focal", "one logit", "multi-label"],
)
@pytest.mark.parametrize("head", ["linear", "convolution"])
@pytest.mark.parametrize("bias", [True, False])
def test_head_equals_the_exact_hypergradient_of_a_student_that_trains_only_its_head(
    optimizer: str,
    loss: str,
    head: str,
    bias: bool,
    spied: Callable[..., Any],
    relative: Callable[[Tensor, Tensor], float],
    smooth_student: Callable[..., Any],
) -> None:
    outputs = 1 if loss == "one logit" else 3
    student = smooth_student(outputs=outputs, bias=bias, head=head)
    spy, _ = spied(optimizer, loss=loss, student=student, only_head=True, steps=3)
    exact, worth = ExactHypergradient()(spy.lessons, spy.look_ahead)
    found, found_worth = HeadHypergradient()(spy.lessons, spy.look_ahead)
    # MONAI's FocalLoss computes in float32 whatever it is given.
    tolerance = 1e-5 if loss == "MONAI's focal" else 1e-10
    assert relative(found, exact) < tolerance
    assert relative(found_worth, worth) < tolerance


def test_a_quadratic_student_gives_its_closed_form() -> None:
    """ℓᵢ = (θ·xᵢ - yᵢ)²/2, plain SGD: s = a vᵀ x (θ·x - y), ds/dx = a (v (θ·x - y) + θ v·x)."""
    torch.manual_seed(0)
    theta, v = (torch.randn(4, dtype=torch.float64) for _ in range(2))
    x, y, omega = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, dtype=torch.float64), torch.rand(5).double()
    parameters = {"theta": theta.clone().requires_grad_()}
    images = x.clone().requires_grad_()

    def losses(given: Any, points: Tensor) -> Tensor:
        return (points @ given["theta"] - y).square() / 2

    lesson = Lesson(
        sources=None,
        labels=y,
        latents=y,
        image_shape=(5, 4),
        difficulty=1.0,
        lesson_weight=1.0,
        parameters=parameters,
        buffers={},
        seed=0,
        weights=omega,
        update={"theta": torch.tensor(0.3, dtype=torch.float64)},
        images=images,
        losses=losses(parameters, images),
        replay=losses,
    )
    residual = x @ theta - y
    worth = 0.3 * (x @ v) * residual
    by_image = 0.3 * (residual[:, None] * v + (x @ v)[:, None] * theta)
    wanted = -(omega[:, None] * by_image) / 5
    for estimator in (ExactHypergradient(), ForwardHypergradient()):
        found, found_worth = estimator([lesson], {"theta": v})
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found_worth, worth, rtol=1e-12, atol=1e-14)


def test_a_student_without_a_linear_layer_is_refused_with_a_remedy() -> None:
    with (
        pytest.raises(HeadNotFoundError, match="ExactHypergradient"),
        HeadHypergradient().watch(torch.nn.ReLU(), []) as seen,
    ):
        assert seen == []


def test_unrolling_no_step_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1, got 0"):
        UnrolledHypergradient(0)
