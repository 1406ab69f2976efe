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

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events

from monai_gmcl import (
    Curriculum,
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLTrainer,
    UnrolledHypergradient,
)
from monai_gmcl.exceptions import CheckpointError

Build = Callable[..., GMCLTrainer]


def parts(trainer: GMCLTrainer) -> dict[str, Any]:
    assert trainer.teacher_optimizer is not None
    return {
        "model": trainer.network,
        "teacher": trainer.teacher,
        "optimizer": trainer.optimizer,
        "teacher_optimizer": trainer.teacher_optimizer,
        "trainer": trainer,
    }


def saved(trainer: GMCLTrainer) -> bytes:
    file = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts(trainer).items()}, file)
    return file.getvalue()


def load(trainer: GMCLTrainer, content: bytes) -> None:
    states = torch.load(io.BytesIO(content), weights_only=True)
    for name, part in parts(trainer).items():
        part.load_state_dict(states[name])


def end_of(trainer: GMCLTrainer) -> list[torch.Tensor]:
    state = [*trainer.network.state_dict().values(), *trainer.teacher.state_dict().values()]
    for optimizer in (trainer.optimizer, trainer.teacher_optimizer):
        assert optimizer is not None
        state += [v for kept in optimizer.state.values() for v in kept.values() if isinstance(v, torch.Tensor)]
    return [value.clone() for value in state]


CASES: dict[str, dict[str, Any]] = {
    "head": {},
    "hardness": {"curriculum": lambda: Curriculum(hardness=0.5)},
    "exact": {"hypergradient": ExactHypergradient},
    "forward": {"hypergradient": ForwardHypergradient},
    "finite difference": {"hypergradient": FiniteDifferenceHypergradient},
    "unrolled": {"hypergradient": lambda: UnrolledHypergradient(3), "teacher_interval": 3},
    "accumulation": {"accumulation_steps": 2},
    "workers": {"workers": 2},
    "meta": {"meta": True},
}


@pytest.mark.parametrize("iteration", [3, 5, 7])
@pytest.mark.parametrize("case", CASES)
def test_a_run_saved_at_any_iteration_goes_on_bit_for_bit(
    case: str, iteration: int, trainer: Build, loader: Callable[..., Any]
) -> None:
    def build() -> GMCLTrainer:
        changes = dict(CASES[case])
        workers = changes.pop("workers", 0)
        if changes.pop("meta", False):
            changes["meta_data_loader"] = loader()
        made = {name: value() if callable(value) else value for name, value in changes.items()}
        return trainer(train_data_loader=loader(workers=workers), **made)

    whole = build()
    content: list[bytes] = []
    whole.add_event_handler(Events.ITERATION_COMPLETED(once=iteration), lambda: content.append(saved(whole)))
    whole.run()
    resumed = build()
    load(resumed, content[0])
    torch.rand(7)
    resumed.run()
    assert resumed.state.iteration == whole.state.iteration == 10
    for found, wanted in zip(end_of(resumed), end_of(whole), strict=True):
        assert torch.equal(found, wanted)
    assert resumed.curriculum.state_dict() == whole.curriculum.state_dict()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(trainer: Build) -> None:
    ends = []
    for seed in (1, 1, 2):
        run = trainer(seed=seed)
        run.run()
        ends.append(end_of(run))
    assert all(torch.equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))


def test_a_loader_built_in_the_middle_of_a_run_does_not_repeat_lessons(
    trainer: Build, loader: Callable[..., Any]
) -> None:
    run = trainer()
    latents: list[torch.Tensor] = []

    @run.on(Events.ITERATION_COMPLETED)
    def disturb() -> None:
        latents.append(run.state.lesson.latents)
        loader()

    run.run()
    first = [float(z.flatten()[0]) for z in latents]
    assert len(set(first)) == len(first)


def test_the_state_of_a_supervised_trainer_is_refused(trainer: Build) -> None:
    with pytest.raises(CheckpointError, match="Expected the state of a GMCLTrainer"):
        trainer().load_state_dict({"epoch_length": 5, "iteration": 5, "max_epochs": 2})
