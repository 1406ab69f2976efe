# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient through several steps of the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError, UnsupportedOptimizerError
from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import Lesson, RealStep

__all__ = ["UnrolledHypergradient"]

State = dict[str, Any]
Step = tuple[Tensor, State]


class UnrolledHypergradient(Hypergradient):
    """Hypergradient through several steps of the student, including the steps of its optimizer.

    The last ``steps`` student steps are computed again with a graph. Real and lesson gradients are taken at the
    parameters after the previous steps, and the optimizer's step is differentiated with its momentum. The result is the
    derivative of the look-ahead loss after the last step by the images of all these steps. With ``steps=1`` it equals
    :class:`ExactHypergradient`. Changes that handlers make to the gradient (clipping) are not repeated.

    Supports SGD, Adam and AdamW. The teacher must not change for ``steps`` steps: set
    ``GMCLTrainer(teacher_interval=...)`` to ``steps`` or more.

    Args:
        steps: number of student steps to differentiate through, at least 1.

    Raises:
        ConfigurationError: ``steps`` below 1.
        UnsupportedOptimizerError: another optimizer; raised at the teacher's first step.
    """

    needs_real_step = True

    def __init__(self, steps: int = 2) -> None:
        if steps < 1:
            raise ConfigurationError(f"UnrolledHypergradient: steps must be at least 1, got {steps}.")
        self.lookback = steps

    @classmethod
    def of_one_step(cls) -> Hypergradient:
        """Return the one-step estimator."""
        return cls(1)

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        parameters = dict(lessons[0].parameters)
        steps = [_real_step(lesson) for lesson in lessons]
        states: dict[str, State] = {name: dict(steps[0].optimizer_state.get(name, {})) for name in parameters}
        weights = []
        for lesson, real_step in zip(lessons, steps, strict=True):
            weights.append(lesson.weights.detach().requires_grad_())
            real = _real_gradient(lesson, real_step, parameters) if weights[1:] else real_step.gradient
            taught = _lesson_gradient(lesson, parameters, weights[-1])
            step = _step_of(real_step)
            for name, gradient in real.items():
                total = real_step.real_weight * gradient + lesson.lesson_weight * taught[name]
                options = real_step.optimizer_options[name]
                parameters[name], states[name] = step(options, states[name], parameters[name], total)
        loss = torch.stack([(parameters[name] * v).sum() for name, v in look_ahead.items() if name in parameters]).sum()
        images = [lesson.images for lesson in lessons]
        by_image = torch.autograd.grad(loss, [*images, *weights], allow_unused=True, materialize_grads=True)
        scale = [1.0 / lesson.lesson_weight for lesson in lessons]
        hypergradient = torch.cat([g * s for g, s in zip(by_image, scale, strict=False)])
        scores = [g * -s * len(g) for g, s in zip(by_image[len(lessons) :], scale, strict=True)]
        return hypergradient, torch.cat(scores)


def _real_step(lesson: Lesson) -> RealStep:
    if lesson.real_step is None:
        raise ConfigurationError(
            "UnrolledHypergradient: expected lessons with a record of the real step, got a lesson without it."
        )
    return lesson.real_step


def _lesson_gradient(lesson: Lesson, parameters: Mapping[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
    losses = lesson.replay(parameters, lesson.images)
    return _gradient((weights * losses).sum() / len(lesson), parameters)


def _real_gradient(lesson: Lesson, step: RealStep, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    gradient = _gradient(lesson.replay_real(step, parameters).mean(), parameters)
    return {name: gradient[name] for name in step.gradient}


def _gradient(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(
        loss, list(parameters.values()), create_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, gradients, strict=True))


def _sgd_step(options: Mapping[str, Any], state: State, parameter: Tensor, gradient: Tensor) -> Step:
    if options["weight_decay"]:
        gradient = gradient + options["weight_decay"] * parameter
    if options["momentum"] == 0:
        return parameter - options["lr"] * gradient, state
    velocity = state.get("momentum_buffer")
    kept = (1 - options["dampening"]) * gradient
    velocity = gradient if velocity is None else options["momentum"] * velocity + kept
    ahead = gradient + options["momentum"] * velocity if options["nesterov"] else velocity
    return parameter - options["lr"] * ahead, {"momentum_buffer": velocity}


def _adam_step(options: Mapping[str, Any], state: State, parameter: Tensor, gradient: Tensor) -> Step:
    if options.get("decoupled_weight_decay", False):
        parameter = parameter * (1 - options["lr"] * options["weight_decay"])
    elif options["weight_decay"]:
        gradient = gradient + options["weight_decay"] * parameter
    beta1, beta2 = options["betas"]
    step = float(state.get("step", 0.0)) + 1
    mean = torch.lerp(torch.as_tensor(state.get("exp_avg", torch.zeros_like(gradient))), gradient, 1 - beta1)
    square = beta2 * state.get("exp_avg_sq", torch.zeros_like(gradient)) + (1 - beta2) * gradient.square()
    corrected = square / (1 - beta2**step)
    # The square root has no derivative at 0, its value for a parameter that never had a gradient.
    root = torch.where(corrected > 0, corrected, torch.ones_like(corrected)).sqrt() * (corrected > 0)
    moved = parameter - options["lr"] / (1 - beta1**step) * mean / (root + options["eps"])
    return moved, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


STEPS: dict[str, Callable[[Mapping[str, Any], State, Tensor, Tensor], Step]] = {
    "SGD": _sgd_step,
    "Adam": _adam_step,
    "AdamW": _adam_step,
}


def _step_of(step: RealStep) -> Callable[[Mapping[str, Any], State, Tensor, Tensor], Step]:
    name = step.optimizer
    for option in ("amsgrad", "maximize"):
        if any(options.get(option, False) for options in step.optimizer_options.values()):
            name = f"{step.optimizer} with {option}=True"
    if name not in STEPS:
        raise UnsupportedOptimizerError(
            f"UnrolledHypergradient repeats the student's steps and supports {', '.join(STEPS)}, got {name}. Use "
            "another estimator, such as ExactHypergradient(), which supports any optimizer."
        )
    return STEPS[name]
