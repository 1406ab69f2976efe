# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    HeadHypergradient,
    Hypergradient,
    UnrolledHypergradient,
)

OPTIMIZERS = ["sgd", "momentum", "dampening", "nesterov", "adam", "adam, decoupled", "adamw"]
LOSSES = ["cross-entropy", "class weights", "label smoothing", "focal", "one logit", "multi-label"]
THIRD_STEP, FOURTH_STEP = 2, 3
LESSON_WEIGHT = 1.3
Relative = Callable[[Tensor, Tensor], float]


@pytest.mark.parametrize("call", [THIRD_STEP, FOURTH_STEP])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [(ForwardHypergradient(), 1e-10), (UnrolledHypergradient(1), 1e-10), (FiniteDifferenceHypergradient(), 1e-6)],
    ids=lambda e: type(e).__name__ if isinstance(e, Hypergradient) else "",
)
def test_estimators_of_the_whole_student_agree(
    estimator: Hypergradient, tolerance: float, optimizer: str, call: int, witness: Any, relative: Relative
) -> None:
    lessons, look_ahead = witness(optimizer).heard(call)
    exact, worth = ExactHypergradient()(lessons, look_ahead)
    found, found_worth = estimator(lessons, look_ahead)
    assert found.shape == lessons[0].images.shape and found_worth.shape == (len(lessons[0]),)
    assert relative(found, exact) < tolerance
    assert relative(found_worth, worth) < tolerance


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_look_ahead_gradient_is_that_of_the_next_real_batch(
    optimizer: str, witness: Any, relative: Relative
) -> None:
    seen = witness(optimizer)
    _, look_ahead = seen.heard()
    network = seen.after().network
    gradients = torch.autograd.grad(seen.look_ahead_loss(network), list(network.parameters()))
    assert set(look_ahead) == {name for name, _ in network.named_parameters()}
    wanted = torch.cat([g.flatten() for g in gradients])
    found = torch.cat([look_ahead[name].flatten() for name, _ in network.named_parameters()])
    assert relative(found, wanted) < 1e-12


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_onlooker_with_torchs_optimizer_ends_where_the_trainer_does(
    optimizer: str, witness: Any, relative: Relative
) -> None:
    """The brute force below rests on it."""
    seen = witness(optimizer, lookback=3, steps=6)
    after, redone = seen.after().network.parameters(), seen.redo().parameters()
    # Adam turns the rounding of a gradient that is 0, a bias before batch normalization, into 1e-10 of a step.
    assert relative(*(torch.cat([p.detach().flatten() for p in ps]) for ps in (redone, after))) < 1e-9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_hypergradient_is_what_a_moved_pixel_does_to_the_look_ahead_loss(
    optimizer: str, witness: Any, relative: Relative
) -> None:
    seen = witness(optimizer)
    for call in (THIRD_STEP, FOURTH_STEP):
        hypergradient, _ = ExactHypergradient()(*seen.heard(call))
        assert relative(*seen.pixels(hypergradient, 6, call)) < 1e-5


@pytest.mark.usefixtures("float64_focal")
@pytest.mark.parametrize("loss", LOSSES)
def test_the_hypergradient_is_true_for_other_losses(loss: str, witness: Any, relative: Relative) -> None:
    seen = witness("nesterov", loss=loss)
    hypergradient, _ = ExactHypergradient()(*seen.heard())
    assert relative(*seen.pixels(hypergradient, 6)) < 1e-5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_image_of_several_steps_is_worth_what_its_weight_does_to_the_look_ahead_loss(
    optimizer: str, witness: Any, relative: Relative
) -> None:
    seen = witness(optimizer, lookback=3, steps=6)
    _, worth = UnrolledHypergradient(3)(*seen.heard())
    slopes = []
    for index, step in enumerate(seen.taken()):
        n = len(step.weights)
        assert step.weights.unique().numel() == n
        slopes += [-n * seen.slope(index, weights=one) for one in torch.eye(n, dtype=torch.float64)]
    assert relative(worth, torch.tensor(slopes, dtype=torch.float64)) < 1e-5


@pytest.mark.parametrize("call", [THIRD_STEP, FOURTH_STEP])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_the_worth_of_an_image_is_the_central_difference_of_a_real_look_ahead_in_its_weight(
    optimizer: str, call: int, witness: Any, relative: Relative
) -> None:
    seen = witness(optimizer)
    (lesson,), look_ahead = seen.heard(call)
    (step,) = seen.taken(call)
    slopes = []
    for one in torch.eye(len(lesson), dtype=torch.float64):
        up, down = (
            seen.look_ahead_loss(seen.redo(call, weights=[step.weights + d * one]), call) for d in (1e-4, -1e-4)
        )
        slopes.append(-len(lesson) * float((up - down).detach()) / 2e-4 / LESSON_WEIGHT)
    for estimator in (ExactHypergradient(), ForwardHypergradient(), FiniteDifferenceHypergradient()):
        worth = estimator.image_scores(lesson, look_ahead)
        assert relative(worth, torch.tensor(slopes, dtype=torch.float64)) < 1e-6, estimator


@pytest.mark.parametrize(
    "estimator",
    [ExactHypergradient(), ForwardHypergradient(), FiniteDifferenceHypergradient(), HeadHypergradient()],
    ids=lambda e: type(e).__name__,
)
def test_the_worth_of_an_image_does_not_depend_on_the_weights(
    estimator: Hypergradient, witness: Any, relative: Relative
) -> None:
    (lesson,), look_ahead = witness("adam").heard()
    _, worth = estimator([lesson], look_ahead)
    alone = estimator.image_scores(lesson, look_ahead)
    assert relative(alone, worth) < 1e-12 and not alone.requires_grad


def _closed_form(points: Tensor, theta: Tensor, targets: Tensor, u: Tensor, omega: Tensor) -> tuple[Tensor, Tensor]:
    """``ℓ = (θ·x̂ - y)²/2`` with ``x̂ = (x, 1)``: its gradient by θ is ``ρ x̂``, so ``s = ρ (x̂·u)`` for a step along u."""
    residual = points @ theta - targets
    by_pixel = residual[:, None] * u[:-1] + (points @ u)[:, None] * theta[:-1]
    return -(omega[:, None] * by_pixel) / len(points), residual * (points @ u)


def _with_one(images: Tensor) -> Tensor:
    return torch.cat([images.flatten(1), torch.ones(len(images), 1, dtype=torch.float64)], 1)


def _parameters(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def _look_ahead_gradient(seen: Any) -> Tensor:
    ahead = seen.after()
    points = _with_one(ahead.real_images)
    return points.T @ (points @ _parameters(ahead.network) - ahead.real_labels[:, 0]) / len(points)


@pytest.mark.parametrize(
    "estimator",
    [ExactHypergradient(), ForwardHypergradient(), HeadHypergradient(), UnrolledHypergradient(1)],
    ids=lambda e: type(e).__name__,
)
def test_a_quadratic_student_gives_its_closed_form(estimator: Hypergradient, witness: Any, linear_student: Any) -> None:
    seen = witness("momentum", loss="squared", student=linear_student(), size=2)
    (step,) = seen.taken()
    rate = 0.1 * 0.9**3
    wanted, worth = _closed_form(
        _with_one(step.images),
        _parameters(step.network),
        step.labels[:, 0],
        rate * _look_ahead_gradient(seen),
        step.weights,
    )
    found, found_worth = estimator(*seen.heard())
    torch.testing.assert_close(found.flatten(1), wanted, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found_worth, worth, rtol=1e-12, atol=1e-15)


def test_two_unrolled_steps_of_a_quadratic_student_give_their_closed_form(witness: Any, linear_student: Any) -> None:
    """With velocity b and ``g₂ = H θ₁ + λ θ₁ + ...``: ``∂θ₂/∂g₁ = -η₁ [1 - η₂ (H + λ)] - η₂ μ``."""
    seen = witness("momentum", loss="squared", student=linear_student(), size=2, lookback=2)
    first, second = seen.taken()
    rates, momentum, decay = (0.1 * 0.9**2, 0.1 * 0.9**3), 0.9, 0.01
    real, lesson = _with_one(second.real_images), _with_one(second.images)
    hessian = 0.7 * real.T @ real / len(real) + 1.3 * lesson.T @ (second.weights[:, None] * lesson) / len(lesson)
    one = torch.eye(len(hessian), dtype=torch.float64)
    v = _look_ahead_gradient(seen)
    directions = (
        (rates[0] * (one - rates[1] * (hessian + decay * one)) + rates[1] * momentum * one) @ v,
        rates[1] * v,
    )
    wanted = [
        _closed_form(_with_one(s.images), _parameters(s.network), s.labels[:, 0], u, s.weights)
        for s, u in zip((first, second), directions, strict=True)
    ]
    found, worth = UnrolledHypergradient(2)(*seen.heard())
    torch.testing.assert_close(found.flatten(1), torch.cat([x for x, _ in wanted]), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(worth, torch.cat([s for _, s in wanted]), rtol=1e-12, atol=1e-15)


def test_a_look_ahead_gradient_of_zero_gives_a_finite_difference_of_zero(witness: Any) -> None:
    lessons, look_ahead = witness().heard()
    nothing = {name: torch.zeros_like(v) for name, v in look_ahead.items()}
    found, worth = FiniteDifferenceHypergradient()(lessons, nothing)
    assert not found.any() and not worth.any() and found.shape == lessons[0].images.shape
    assert FiniteDifferenceHypergradient().image_scores(lessons[0], nothing).tolist() == [0.0] * len(lessons[0])
