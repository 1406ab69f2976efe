# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import IterationEvents
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from monai_gmcl import (
    Curriculum,
    ExactHypergradient,
    GMCLEvents,
    GMCLTrainer,
    HeadHypergradient,
    LookAheadWeighting,
    UnrolledHypergradient,
)
from monai_gmcl.exceptions import ConfigurationError, UnsupportedOptimizerError
from monai_gmcl.teachers import PolicyTeacher

Build = Callable[..., GMCLTrainer]


class Counting:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0


class CountingLoss(Counting):
    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += len(outputs)
        return nn.functional.cross_entropy(outputs, labels)


class CountingInferer(Counting, SimpleInferer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return super().__call__(*args, **kwargs)


def moved(run: GMCLTrainer, network: nn.Module) -> bool:
    before = {name: value.clone() for name, value in network.named_parameters()}
    run.run()
    return any(not torch.equal(value, before[name]) for name, value in network.named_parameters())


@pytest.mark.parametrize("when", ["before the run", "in it"])
def test_an_inferer_set_on_a_built_trainer_takes_real_images_and_lessons(when: str, trainer: Build) -> None:
    run, inferer = trainer(), CountingInferer()
    if when == "in it":
        run.add_event_handler(Events.EPOCH_STARTED(once=2), lambda: setattr(run, "inferer", inferer))
    else:
        run.inferer = inferer
    run.run()
    assert run.student.inferer is inferer and inferer.calls == (10 if when == "in it" else 20)


def test_a_loss_set_on_a_built_trainer_is_that_of_lessons_too(trainer: Build) -> None:
    run, loss = trainer(), CountingLoss()
    seen: list[Tensor] = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: seen.append(run.state.lesson.losses.detach()))
    run.loss_function = lambda outputs, labels: loss(outputs, labels) * 0 + 7.0
    run.run()
    assert loss.calls > 0 and all(torch.equal(losses, torch.full_like(losses, 7.0)) for losses in seen)
    assert run.state.output[0]["loss"] == 7.0


def test_an_optimizer_set_on_a_built_trainer_is_the_one_that_steps(trainer: Build) -> None:
    run = trainer()
    run.optimizer = torch.optim.SGD(run.network.parameters(), lr=0.0)
    assert not moved(run, run.network)
    with pytest.raises(UnsupportedOptimizerError, match=r"LBFGS.*\(a closure\).*AdamW"):
        run.optimizer = torch.optim.LBFGS(run.network.parameters())


def test_a_network_set_on_a_built_trainer_learns_from_both(trainer: Build, student: Any) -> None:
    run = trainer()
    first, second = run.network, student()
    run.run()
    run.network = second
    assert run.student.network is second and run.student_step.network is second and run.dropped_lessons == 1
    run.state.max_epochs = 4
    with pytest.raises(ConfigurationError, match="optimizer: AdamW trains no parameter of SmallStudent"):
        run.run()
    run.optimizer = torch.optim.SGD(second.parameters(), lr=0.1)
    before = [p.clone() for p in first.parameters()]
    assert moved(run, second) and all(torch.equal(a, b) for a, b in zip(before, first.parameters(), strict=True))


def test_a_network_that_a_pseudo_labeler_averages_cannot_be_replaced(trainer: Build, student: Any, items: Any) -> None:
    unlabeled = DataLoader(Dataset([{"image": item["image"]} for item in items(6)]), batch_size=3)
    run = trainer(unlabeled_data_loader=unlabeled)
    with pytest.raises(ConfigurationError, match="PseudoLabeler averages the network"):
        run.network = student()
    inferer = CountingInferer()
    run.inferer = inferer
    run.run()
    assert inferer.calls > 20  # proposals, too


def test_mixed_precision_and_windows_set_on_a_built_trainer_are_heard(trainer: Build) -> None:
    run = trainer()
    run.amp, run.amp_kwargs, run.accumulation_steps, run.optim_set_to_none = True, {"dtype": torch.bfloat16}, 5, True
    kinds: list[torch.dtype] = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: kinds.append(run.state.lesson.outputs.dtype))
    run.run()
    assert set(kinds) == {torch.bfloat16} and run.student_step.taken == 2 and run.precision.enabled
    with pytest.raises(ConfigurationError, match="accumulation_steps must be a positive integer, got 0"):
        run.accumulation_steps = 0


def test_other_data_are_taken_in_an_order_that_follows_from_the_seed(trainer: Build, items: Any) -> None:
    def seen(by_set_data: bool) -> list[float]:
        run, found = trainer(max_epochs=3), []
        other = DataLoader(Dataset(items(11)), batch_size=5, shuffle=True)
        torch.manual_seed(torch.randint(1000, ()).item())  # type: ignore[arg-type]

        def change() -> None:
            if by_set_data:
                run.set_data(other)

        if not by_set_data:
            run.data_loader = other
        run.add_event_handler(Events.EPOCH_COMPLETED(once=1), change)
        run.add_event_handler(
            Events.ITERATION_COMPLETED, lambda: found.append(float(run.state.output[0]["image"].mean()))
        )
        run.run()
        return found

    for way in (True, False):
        assert seen(way) == seen(way)


def test_what_updates_the_teacher_and_what_weighs_can_be_replaced(trainer: Build) -> None:
    run = trainer(hypergradient=HeadHypergradient())
    run.run()
    run.hypergradient, run.weighting, run.curriculum = (
        ExactHypergradient(),
        LookAheadWeighting(),
        Curriculum(hardness=0.5),
    )
    assert run.dropped_lessons == 1
    run.state.max_epochs, run.teacher_interval = 4, 2
    run.run()
    assert (
        run.state.lesson.update.keys() == run.state.lesson.parameters.keys() and run.state.output[0]["hardness"] == 0.5
    )
    with pytest.raises(ConfigurationError, match="teacher_interval must be at least 3, got 2"):
        run.hypergradient = UnrolledHypergradient(3)
    with pytest.raises(ConfigurationError, match="teacher_interval must be a positive integer, got 0"):
        run.teacher_interval = 0
    assert isinstance(run.hypergradient, ExactHypergradient) and run.teacher_interval == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("teacher", PolicyTeacher(2, 3, 2)),
        ("teacher_optimizer", None),
        ("device", torch.device("meta")),
        ("seed", 5),
        ("compile", True),
    ],
)
def test_what_belongs_to_a_built_trainer_cannot_be_replaced(name: str, value: Any, trainer: Build) -> None:
    run = trainer()
    before = getattr(run, name)
    with pytest.raises(ConfigurationError, match=f"{name} cannot be replaced in a GMCLTrainer.*Build another trainer"):
        setattr(run, name, value)
    assert getattr(run, name) is before


def test_an_optimizer_that_trains_nothing_of_its_network_is_refused(trainer: Build, student: Any) -> None:
    with pytest.raises(ConfigurationError, match="teacher_optimizer: SGD trains no parameter of GainTeacher"):
        trainer(teacher_optimizer=torch.optim.SGD(student().parameters(), lr=0.1))
    with pytest.raises(ConfigurationError, match="optimizer: SGD trains no parameter of SmallStudent"):
        trainer(optimizer=torch.optim.SGD(student().parameters(), lr=0.1)).run()


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, IterationEvents.BACKWARD_COMPLETED])
def test_parameters_that_join_the_optimizer_in_the_run_learn_from_then_on(
    event: Any, trainer: Build, student: Any
) -> None:
    network = student()
    run = trainer(network=network, optimizer=torch.optim.Adam(network.head.parameters(), lr=0.01), max_epochs=3)

    def unfreeze() -> None:
        if run.state.iteration == 4:
            run.optimizer.add_param_group({"params": list(network.body.parameters())})

    run.add_event_handler(event, unfreeze)
    before = network.body[0].weight.clone()
    run.run()
    assert not torch.equal(before, network.body[0].weight) and "body.0.weight" in run.state.lesson.parameters
    assert run.dropped_lessons == (0 if event is Events.ITERATION_STARTED else 1)
