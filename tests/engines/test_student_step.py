# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.engines.utils import IterationEvents
from monai.handlers import LrScheduleHandler
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl import (
    Curriculum,
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLEvents,
    GMCLKeys,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    LinearRamp,
)

Build = Callable[..., GMCLTrainer]


def smooth_student() -> nn.Sequential:
    """Without batch normalization and dropout: a pass depends on parameters and images alone."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def gradient_of(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    loss = nn.functional.cross_entropy(network(images), labels)
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert set(found) == set(wanted)
    for name in found:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)


class Follower:
    """Computes the gradients of each micro-batch anew and keeps what the engine put into ``p.grad``."""

    def __init__(self, run: GMCLTrainer) -> None:
        self.run = run
        self.real: list[dict[str, Tensor]] = []
        self.taught: list[dict[str, Tensor]] = []
        self.steps: list[dict[str, Tensor]] = []
        run.add_event_handler(GMCLEvents.LESSON_COMPLETED, self.compute)
        run.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.keep)

    def compute(self) -> None:
        lesson, output = self.run.state.lesson, self.run.state.output
        self.real.append(gradient_of(self.run.network, output[Keys.IMAGE], output[Keys.LABEL]))
        self.taught.append(gradient_of(self.run.network, lesson.images.detach(), lesson.labels))

    def keep(self) -> None:
        self.steps.append({n: p.grad.clone() for n, p in self.run.network.named_parameters() if p.grad is not None})


def test_the_step_takes_r_times_the_real_and_w_times_the_lesson_gradient_at_each_point_of_the_schedules(
    trainer: Build,
) -> None:
    curriculum = Curriculum(real_weight=LinearRamp(1.0, 0.1), lesson_weight=LinearRamp(0.2, 1.2))
    run = trainer(network=smooth_student(), curriculum=curriculum)
    follower = Follower(run)
    noted: list[float] = []
    run.add_event_handler(IterationEvents.MODEL_COMPLETED, lambda: noted.append(run.state.output[0][GMCLKeys.WEIGHT]))
    run.run()
    for index, (found, real, taught) in enumerate(zip(follower.steps, follower.real, follower.taught, strict=True)):
        r, w = 1.0 - 0.9 * index / 10, 0.2 + index / 10
        assert_same(found, {name: r * real[name] + w * taught[name] for name in real})
        assert noted[index] == pytest.approx(w)
    assert len(noted) == 10


@pytest.mark.parametrize("amp", [False, True])
def test_the_look_ahead_is_the_real_gradient_whatever_r_and_clipping_make_of_the_step(
    amp: bool, trainer: Build
) -> None:
    options = {"amp": True, "amp_kwargs": {"dtype": torch.float16}} if amp else {}
    run = trainer(network=smooth_student(), curriculum=Curriculum(real_weight=0.2), **options)
    heard: list[dict[str, Tensor]] = []
    wanted: list[dict[str, Tensor]] = []
    estimator = run.hypergradient

    class Listening(type(estimator)):  # type: ignore[misc]
        def __call__(self, lessons: Any, look_ahead: Any) -> Any:
            heard.append({name: v.clone() for name, v in look_ahead.items()})
            return super().__call__(lessons, look_ahead)

    run.hypergradient = Listening()

    @run.on(IterationEvents.LOSS_COMPLETED)
    def compute() -> None:
        output = run.state.output
        wanted.append(gradient_of(run.network, output[Keys.IMAGE], output[Keys.LABEL]))

    @run.on(IterationEvents.BACKWARD_COMPLETED)
    def clip() -> None:
        nn.utils.clip_grad_norm_(run.network.parameters(), 1e-3)

    run.run()
    assert len(heard) == 9
    for found, expected in zip(heard, wanted[1:], strict=True):
        for name in found:
            tolerance = 0.05 * expected[name].abs().max().item() if amp else 1e-6
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=tolerance)


def test_the_derivative_of_the_step_is_that_of_the_step_before_a_scheduler_moves_the_rate(trainer: Build) -> None:
    network = smooth_student()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    run = trainer(network=network, optimizer=optimizer, hypergradient=ExactHypergradient())
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    LrScheduleHandler(schedule, print_lr=False, epoch_level=False).attach(run)
    seen: list[float] = []
    run.add_event_handler(
        IterationEvents.MODEL_COMPLETED, lambda: seen.append(float(next(iter(run.state.lesson.update.values()))))
    )
    run.run()
    assert seen == pytest.approx([0.1 * 0.5**i for i in range(10)])


@pytest.mark.parametrize("micro", [2, 4])
def test_a_window_of_micro_batches_is_one_step_on_all_its_images(
    micro: int, trainer: Build, tensors: Any, batches: Any
) -> None:
    ends = []
    for size, window in ((12, 1), (micro, 12 // micro)):
        network = smooth_student()
        run = trainer(
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
            train_data_loader=batches(*tensors(n=12), size),
            accumulation_steps=window,
            curriculum=Curriculum(real_weight=1.0, lesson_weight=0.0),
            max_epochs=1,
        )
        run.run()
        assert run.student_step.taken == 1
        ends.append(network.state_dict())
    assert_same(ends[0], ends[1])


def test_each_micro_batch_of_a_window_has_a_lesson_and_the_last_is_heard(trainer: Build) -> None:
    curriculum = Curriculum(real_weight=0.3, lesson_weight=0.6)
    run = trainer(network=smooth_student(), curriculum=curriculum, accumulation_steps=2)
    follower = Follower(run)
    latents: list[Tensor] = []
    heard: list[Tensor] = []
    steps: list[int] = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: latents.append(run.state.lesson.latents))
    run.add_event_handler(GMCLEvents.TEACHER_STEP_COMPLETED, lambda: steps.append(run.state.iteration))
    alive = run.pending_lessons.with_graphs
    run.pending_lessons.with_graphs = lambda: [heard.append(k.latents) or k for k in alive()]  # type: ignore[func-returns-value, method-assign]
    run.run()
    windows = [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9]]
    for window, found in zip(windows, follower.steps, strict=True):
        wanted = {
            name: sum(0.3 * follower.real[i][name] + 0.6 * follower.taught[i][name] for i in window) / 2
            for name in found
        }
        assert_same(found, wanted)  # type: ignore[arg-type]
    assert len(latents) == 10
    assert steps == [4, 5, 7, 9, 10]
    for window, lesson in zip(windows, heard, strict=False):
        assert torch.equal(lesson, latents[window[-1]])


def test_frozen_and_foreign_parameters_stay_out_of_the_step(trainer: Build) -> None:
    network = smooth_student()
    network[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([network[0].weight, *network[4].parameters()], lr=0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainer(network=network, optimizer=optimizer, hypergradient=ExactHypergradient()).run()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == {"4.weight", "4.bias"}


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_loss_scale_forbids_moves_nothing_and_drops_the_lesson(fused: bool, trainer: Build) -> None:
    network = smooth_student()
    run = trainer(
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.01, fused=fused),
        amp=True,
        amp_kwargs={"dtype": torch.float16},
        loss_function=lambda outputs, labels: 200.0 * nn.functional.cross_entropy(outputs, labels),
    )
    weights: list[Tensor] = []
    run.add_event_handler(IterationEvents.LOSS_COMPLETED, lambda: weights.append(network[4].weight.detach().clone()))
    run.run()
    weights.append(network[4].weight.detach().clone())
    stood = [torch.equal(a, b) for a, b in zip(weights, weights[1:], strict=False)]
    assert any(stood) and not all(stood)
    assert run.student_step.taken == stood.count(False)
    assert run.dropped_lessons == stood.count(True)
    assert run.scaler is not None and run.scaler.get_scale() == 65536.0 / 2 ** stood.count(True)
    assert math.isfinite(run.state.output[0][Keys.LOSS])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_lessons_gradient_of_a_window_can_be_read_before_the_step(steps: int, trainer: Build) -> None:
    run = trainer(max_epochs=1, accumulation_steps=steps)
    window: list[dict[str, Tensor]] = []
    seen: list[int] = []

    @run.on(GMCLEvents.LESSON_COMPLETED)
    def compare() -> None:
        if run.student_step.window_begins(run.state):
            window.clear()
        lesson = run.state.lesson
        losses = lesson.replay(lesson.parameters, lesson.images)
        loss = (lesson.weights * losses).mean() / steps
        gradients = torch.autograd.grad(loss, list(lesson.parameters.values()))
        window.append(dict(zip(lesson.parameters, gradients, strict=True)))
        found = run.student_step.lesson_gradient()
        for name in lesson.parameters:
            torch.testing.assert_close(found[name], sum(part[name] for part in window))
        seen.append(len(window))

    run.run()
    assert seen == ([1] * 5 if steps == 1 else [1, 2, 3, 1, 2])
    assert run.student_step.lesson_gradient() == {}


class SmoothStudent(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        )


@pytest.mark.parametrize(
    ("hypergradient", "dtype"),
    [
        (HeadHypergradient, torch.bfloat16),
        (HeadHypergradient, torch.float16),
        (ExactHypergradient, torch.bfloat16),
        (ForwardHypergradient, torch.float16),
        (FiniteDifferenceHypergradient, torch.bfloat16),
        (FiniteDifferenceHypergradient, torch.float16),
    ],
)
def test_the_hypergradient_points_where_that_of_single_precision_does(
    hypergradient: type[Hypergradient], dtype: torch.dtype, trainer: Build, noting: Callable[..., Any]
) -> None:
    found: list[list[Tensor]] = []
    for options in ({}, {"amp": True, "amp_kwargs": {"dtype": dtype}}):
        torch.manual_seed(0)
        network, estimator = SmoothStudent(), noting(hypergradient)
        sgd = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer(network=network, optimizer=sgd, hypergradient=estimator, max_epochs=1, **options).run()
        found.append([signal.double().flatten() for signal in estimator.found])
    assert len(found[0]) == len(found[1]) > 2
    cosines = [float(torch.cosine_similarity(*pair, dim=0)) for pair in zip(*found, strict=True)]
    assert min(cosines) >= 0.99, cosines
