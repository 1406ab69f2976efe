# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data.meta_tensor import MetaTensor
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import nn

from monai_gmcl import GMCLTrainer, HeadHypergradient, UniformWeighting
from monai_gmcl.exceptions import DataError, GMCLError, NonFiniteLossError, TeacherError
from monai_gmcl.handlers import CheckpointKeeper, newest_checkpoint

Build = Callable[..., GMCLTrainer]
STEPS = {"first": (1, math.nan), "middle": (3, math.inf), "last": (5, math.nan)}
"""Iteration, and what is there."""


class Spoiling:
    """Gives a value that is not finite at one step of a run."""

    def __init__(self, step: int, value: float) -> None:
        self.step = step
        self.value = value
        self.now = 0

    def __call__(self, numbers: Any) -> Any:
        return numbers * self.value if self.now == self.step else numbers


def in_images(spoil: Spoiling) -> dict[str, Any]:
    def prepare(batch: Any, *_: Any, **__: Any) -> Any:
        images = batch["image"].clone()
        images[1, 0, 4, 4] = spoil(images[1, 0, 4, 4])
        return images, batch["label"]

    return {"prepare_batch": prepare}


def in_weights(spoil: Spoiling) -> dict[str, Any]:
    class Spoiled(UniformWeighting):
        def __call__(self, *args: Any) -> Any:
            weights = super().__call__(*args)
            weights[1] = spoil(weights[1])
            return weights

    return {"weighting": Spoiled()}


def in_student_loss(spoil: Spoiling) -> dict[str, Any]:
    return {"loss_function": lambda pred, label: spoil(nn.functional.cross_entropy(pred, label))}


def in_lesson_loss(spoil: Spoiling) -> dict[str, Any]:
    class Loss(nn.CrossEntropyLoss):
        def forward(self, pred: Any, label: Any) -> Any:
            # Per image for lessons, a mean for real images.
            value = super().forward(pred, label)
            return spoil(value) if value.ndim else value

    return {"loss_function": Loss()}


def in_hypergradient(spoil: Spoiling) -> dict[str, Any]:
    class Spoiled(HeadHypergradient):
        def __call__(self, *args: Any) -> Any:
            gradient, worth = super().__call__(*args)
            gradient[0, 0, 0, 0] = spoil(gradient[0, 0, 0, 0])
            return gradient, worth

    return {"hypergradient": Spoiled()}


RAISING: dict[str, tuple[Callable[[Spoiling], dict[str, Any]], type[GMCLError], str]] = {
    "image": (in_images, DataError, "Image 1 of a batch has NaN or infinite"),
    "weight": (in_weights, NonFiniteLossError, "weight of image 1 of the lesson is"),
    "student loss": (in_student_loss, NonFiniteLossError, "student's loss on real images is"),
    "lesson loss": (in_lesson_loss, NonFiniteLossError, "student's loss on image 0 of the lesson is"),
}


def build(trainer: Build, spoil: Spoiling, folder: Path, changes: dict[str, Any]) -> GMCLTrainer:
    keeper = CheckpointKeeper(folder, epoch_level=False)
    run = trainer(max_epochs=1, train_handlers=[keeper], **changes)

    @run.on(Events.ITERATION_STARTED)
    def count() -> None:
        spoil.now = run.state.iteration

    return run


def assert_finite(value: Any) -> None:
    if isinstance(value, torch.Tensor):
        assert not value.is_floating_point() or torch.isfinite(value).all()
    elif isinstance(value, dict):
        for item in value.values():
            assert_finite(item)


def assert_disk_is_finite(folder: Path, iteration: int) -> None:
    if iteration == 0:
        assert not folder.exists()
        return
    state = torch.load(newest_checkpoint(folder), weights_only=True)
    assert state["trainer"]["iteration"] == iteration
    assert_finite(state)


@pytest.mark.parametrize(
    ("place", "step"),
    [("image", "first"), ("image", "last"), ("weight", "middle"), ("student loss", "last"), ("lesson loss", "first")],
)
def test_what_reaches_the_student_raises_at_that_step(place: str, step: str, trainer: Build, tmp_path: Path) -> None:
    make, error, message = RAISING[place]
    at, value = STEPS[step]
    spoil = Spoiling(at, value)
    run = build(trainer, spoil, tmp_path / "run", make(spoil))
    with pytest.raises(error, match=message):
        run.run()
    assert run.state.iteration == at
    assert_finite(run.network.state_dict())
    assert_finite(run.teacher.state_dict())
    assert_disk_is_finite(tmp_path / "run", at - 1)


@pytest.mark.parametrize("step", STEPS)
def test_the_teachers_hypergradient_is_skipped_and_counted(step: str, trainer: Build, tmp_path: Path) -> None:
    # The first lesson is heard in the second iteration.
    at, value = max(STEPS[step][0], 2), STEPS[step][1]
    spoil = Spoiling(at, value)
    run = build(trainer, spoil, tmp_path, in_hypergradient(spoil))
    gains: list[float] = []
    run.add_event_handler(Events.ITERATION_COMPLETED, lambda: gains.append(run.teacher.gain.item()))
    run.run()
    assert run.teacher_step is not None and run.teacher_step.skipped == 1
    stood = [i + 2 for i, (a, b) in enumerate(zip(gains, gains[1:], strict=False)) if a == b]
    assert stood == [at]
    assert_disk_is_finite(tmp_path, 5)


def test_an_image_that_is_not_finite_is_named_labeled_or_not(trainer: Build, items: Any, loader: Any) -> None:
    def prepare(batch: Any, *_: Any, **__: Any) -> Any:
        images = MetaTensor(batch["image"].clone(), meta={"filename_or_obj": [f"{i}.png" for i in range(5)]})
        images[3, 0, 0, 0] = math.nan
        return images, batch["label"]

    with pytest.raises(DataError, match=r"Image 3 of a batch, 3.png, has NaN"):
        trainer(prepare_batch=prepare).run()
    spoilt = [{**item, "image": item["image"] * math.nan} for item in items()]
    with pytest.raises(DataError, match="Image 0 of a batch has NaN"):
        trainer(unlabeled_data_loader=loader(spoilt)).run()


def test_a_teacher_that_makes_images_that_are_not_finite_raises(trainer: Build, gain_teacher: Any) -> None:
    teacher = gain_teacher()
    teacher.gain.data.fill_(math.nan)
    with pytest.raises(TeacherError, match="GainTeacher to return finite images"):
        trainer(teacher=teacher).run()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_of_the_student_that_is_not_finite_takes_no_step(value: float, trainer: Build) -> None:
    run = trainer()
    before = {name: tensor.clone() for name, tensor in run.network.named_parameters()}

    @run.on(IterationEvents.BACKWARD_COMPLETED)
    def spoil() -> None:
        run.network.head.bias.grad[0] = value

    with pytest.raises(NonFiniteLossError, match=r"student's gradient is not finite \(head.bias\)"):
        run.run()
    assert run.state.output[Keys.LOSS].isfinite()
    assert all(torch.equal(before[name], tensor) for name, tensor in run.network.named_parameters())


class Normalized(nn.Module):
    """A student with a running statistic, and a mask that is infinite on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def forward(self, images: Any) -> Any:
        logits: Any = self.head(self.norm(images).mean((2, 3)))
        return logits


def build_normalized(trainer: Build, **arguments: Any) -> GMCLTrainer:
    network = Normalized()
    return trainer(network=network, optimizer=torch.optim.SGD(network.parameters(), 0.1), **arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("norm.running_mean", math.nan), ("norm.running_var", math.inf)),
        *(("norm.weight", -math.inf), ("head.bias", math.nan)),
    ],
)
def test_without_a_keeper_what_the_last_step_of_an_epoch_has_left_is_seen(
    name: str, value: float, trainer: Build
) -> None:
    run = build_normalized(trainer, max_epochs=2)
    length = run.state.epoch_length
    assert length is not None
    heard: list[int] = []
    run.add_event_handler(Events.EPOCH_COMPLETED, lambda: heard.append(run.state.epoch))

    def spoil(optimizer: Any, *_: Any) -> None:
        if run.state.iteration == 2 * length:
            (dict(run.network.named_parameters()) | dict(run.network.named_buffers()))[name].data[0] = value

    run.optimizer.register_step_post_hook(spoil)
    with pytest.raises(
        NonFiniteLossError, match=rf"The student's {name} has NaN or infinite .* iteration {2 * length}"
    ):
        run.run()
    # Before the epoch's handlers: none of them has written it. The mask, infinite on purpose, has not ended the first.
    assert heard == [1]


def test_a_teacher_that_is_not_finite_after_the_last_step_is_seen_and_a_student_whose_run_a_handler_ends(
    trainer: Build,
) -> None:
    run = trainer(max_epochs=1)
    run.add_event_handler(Events.EPOCH_COMPLETED, lambda: run.teacher.gain.data.fill_(math.nan))
    with pytest.raises(NonFiniteLossError, match="The teacher's gain has NaN"):
        run.run()
    ended = build_normalized(trainer, max_epochs=1)

    @ended.on(Events.ITERATION_COMPLETED(once=2))
    def end() -> None:
        ended.network.norm.running_var.data[1] = math.inf
        ended.terminate()

    with pytest.raises(NonFiniteLossError, match="norm.running_var .* after iteration 2"):
        ended.run()
