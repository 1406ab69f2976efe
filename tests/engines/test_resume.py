# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.handlers import CheckpointLoader, CheckpointSaver
from monai.transforms import RandGaussianNoised
from torch import nn

from monai_gmcl import (
    ClassSampler,
    Curriculum,
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLTrainer,
    LatentTeacher,
    LinearRamp,
    PolicyTeacher,
    PseudoLabeler,
    UnrolledHypergradient,
)
from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.transforms import SeededItems

Build = Callable[..., GMCLTrainer]


def parts(trainer: GMCLTrainer) -> dict[str, Any]:
    names = {"model": "network", **{name: name for name in ("teacher", "optimizer", "teacher_optimizer")}}
    return {**{key: getattr(trainer, name) for key, name in names.items()}, "trainer": trainer}


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


class Stream(torch.utils.data.IterableDataset[Any]):
    """Without a length, and with shuffling of its own."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Any:
        return iter([self.items[i] for i in torch.randperm(len(self.items)).tolist()])


class NormalizingTeacher(nn.Module):
    """A plain module with running statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.Dropout(0.5))

    def forward(self, images: Any, labels: Any, latents: Any, difficulty: float) -> Any:
        return images + 0.1 * difficulty * torch.tanh(self.change(images))


def told(student: Any) -> nn.Module:
    """A student that needs more than images."""

    class Told(student):  # type: ignore[misc]
        def forward(self, images: Any, brightness: Any, *, age: Any) -> Any:
            return super().forward(images) * (1 + brightness[:, None]) + age[:, None] / 100

    return Told()


def with_more(batch: Any, *_: Any, **__: Any) -> Any:
    images = batch["image"].as_tensor()
    return images, batch["label"], (images.flatten(1).mean(1),), {"age": images.flatten(1).sum(1)}


def policy() -> PolicyTeacher:
    return PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2)


def ramps() -> Curriculum:
    weights = {"real_weight": LinearRamp(1.0, 0.2), "lesson_weight": LinearRamp(0.1, 1.0)}
    return Curriculum(**weights, hardness=0.5, class_sampler=ClassSampler("errors"))  # type: ignore[arg-type]


def easier() -> Curriculum:
    return Curriculum(unlabeled_difficulty=0.3)


def unrolled() -> UnrolledHypergradient:
    return UnrolledHypergradient(3)


def aligned() -> PseudoLabeler:
    return PseudoLabeler(align=True)


def first_student() -> PseudoLabeler:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return PseudoLabeler(network=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)))


CASES: dict[str, dict[str, Any]] = {
    "head": {},
    "policy, hardness, errors": {"teacher": policy, "curriculum": ramps},
    "latent": {"teacher": lambda: LatentTeacher(image_size=(8, 8), spatial_dims=2, in_channels=3, num_classes=2)},
    "plain teacher": {"teacher": NormalizingTeacher},
    "exact": {"hypergradient": ExactHypergradient},
    "forward": {"hypergradient": ForwardHypergradient},
    "finite difference": {"hypergradient": FiniteDifferenceHypergradient},
    "unrolled": {"hypergradient": unrolled, "teacher_interval": 3, "curriculum": ramps},
    "accumulation": {"accumulation_steps": 3, "teacher_interval": 2, "curriculum": ramps},
    "workers": {"workers": 2},
    "extra inputs": {"prepare_batch": with_more},
    "meta": {"meta": 0, "hypergradient": unrolled, "teacher_interval": 4},
    "meta workers": {"meta": 2, "accumulation_steps": 2},
    "unlabeled": {"unlabeled": 0},
    "unlabeled workers": {"unlabeled": 2, "meta": 0, "curriculum": ramps},
    "unlabeled, aligned": {"unlabeled": 0, "label_proposal": aligned},
    "unlabeled, first student": {"unlabeled": 0, "label_proposal": first_student},
    "unlabeled, easier": {"unlabeled": 0, "teacher": policy, "curriculum": easier},
    "unlabeled, accumulation": {"unlabeled": 0, "accumulation_steps": 3},
    "unlabeled, bfloat16": {"unlabeled": 0, "amp": True},
    "bfloat16": {"amp": True},
    "float16": {"amp": True, "amp_kwargs": {"dtype": torch.float16}},
    "momentum": {"sgd": True, "hypergradient": unrolled, "teacher_interval": 3},
    "no length": {"stream": True, "accumulation_steps": 2},
    "short epochs": {"epoch_length": 4, "max_epochs": 3},
    "long epochs": {"epoch_length": 8, "max_epochs": 2},
}
OFTEN = ("accumulation", "unlabeled, aligned")
"""Cases that are saved after each of their iterations; the others in mid-epoch, at its end and behind it."""


def made(case: str, trainer: Build, loader: Callable[..., Any], items: Any, student: Any) -> GMCLTrainer:
    changes = dict(CASES[case])
    network = changes["network"] = told(student) if "prepare_batch" in changes else student()
    changes["train_data_loader"] = loader(workers=changes.pop("workers", 0))
    if changes.pop("stream", False):
        changes["train_data_loader"] = torch.utils.data.DataLoader(Stream(items()), batch_size=5)
    if "meta" in changes:
        changes["meta_data_loader"] = loader(workers=changes.pop("meta"))
    if "unlabeled" in changes:
        changes["unlabeled_data_loader"] = loader(workers=changes.pop("unlabeled"))
    if changes.pop("sgd", False):
        changes["optimizer"] = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    return trainer(**{name: value() if callable(value) and name in MADE else value for name, value in changes.items()})


MADE = ("teacher", "curriculum", "hypergradient", "label_proposal")


@pytest.mark.parametrize(
    ("case", "iteration"), [(case, i) for case in CASES for i in (range(1, 10) if case in OFTEN else (4, 5, 7))]
)
def test_a_run_saved_at_any_iteration_goes_on_bit_for_bit(
    case: str, iteration: int, trainer: Build, loader: Callable[..., Any], items: Any, student: Any, wholes: Any
) -> None:
    if case not in wholes:
        whole = made(case, trainer, loader, items, student)
        contents: list[bytes] = []
        outputs: list[dict[str, Any]] = []

        @whole.on(Events.ITERATION_COMPLETED)
        def save() -> None:
            contents.append(saved(whole))
            outputs.append(numbers(whole))

        whole.run()
        wholes[case] = (whole, contents, outputs)
    whole, contents, outputs = wholes[case]
    torch.manual_seed(99)
    resumed = made(case, trainer, loader, items, student)
    load(resumed, contents[iteration - 1])
    torch.rand(7)
    found: list[dict[str, Any]] = []
    resumed.add_event_handler(Events.ITERATION_COMPLETED, lambda: found.append(numbers(resumed)))
    resumed.run()
    assert found == outputs[iteration:] and len(found) > 0
    assert_ends_equal(resumed, whole)
    assert resumed.curriculum.state_dict() == whole.curriculum.state_dict()


def numbers(trainer: GMCLTrainer) -> dict[str, Any]:
    """What a log of the iteration would say."""
    kept = {key: value for key, value in trainer.state.output[0].items() if isinstance(value, float)}
    return {str(key): value for key, value in {**kept, **trainer.state.curriculum}.items()}


def assert_ends_equal(first: GMCLTrainer, second: GMCLTrainer) -> None:
    assert (first.state.iteration, first.state.epoch) == (second.state.iteration, second.state.epoch)
    for found, wanted in zip(end_of(first), end_of(second), strict=True):
        assert torch.equal(found, wanted)


@pytest.fixture(scope="module")
def wholes() -> dict[str, Any]:
    """The uninterrupted run of each case, with what it saved after each iteration."""
    return {}


def test_a_run_may_be_interrupted_again_and_again(trainer: Build) -> None:
    whole = trainer(accumulation_steps=2)
    whole.run()
    content: list[bytes] = []
    for iteration in range(1, 10):
        part = trainer(accumulation_steps=2)
        if content:
            load(part, content[-1])
            assert same(torch.load(io.BytesIO(saved(part)), weights_only=True), torch.load(io.BytesIO(content[-1])))

        @part.on(Events.ITERATION_COMPLETED(once=iteration))
        def stop(part: GMCLTrainer = part) -> None:
            content.append(saved(part))
            part.terminate()

        part.run()
    last = trainer(accumulation_steps=2)
    load(last, content[-1])
    last.run()
    assert_ends_equal(last, whole)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


def test_a_run_saved_before_its_first_iteration_begins_anew(trainer: Build) -> None:
    whole = trainer()
    content = saved(whole)
    whole.run()
    resumed = trainer(seed=123)
    load(resumed, content)
    resumed.run()
    assert_ends_equal(resumed, whole)


def test_more_epochs_may_be_added_to_a_run_that_has_ended(trainer: Build) -> None:
    short, steady = trainer(max_epochs=1, curriculum=Curriculum(hardness=0.1)), Curriculum(hardness=0.1)
    short.run()
    longer = trainer(max_epochs=3, curriculum=steady)
    load(longer, saved(short))
    longer.state.max_epochs = 3
    longer.run()
    whole = trainer(max_epochs=3, curriculum=Curriculum(hardness=0.1))
    whole.run()
    assert_ends_equal(longer, whole)


@pytest.mark.parametrize("iteration", [3, 5])
def test_checkpoints_of_monai_resume_bit_for_bit(iteration: int, trainer: Build, tmp_path: Path) -> None:
    whole = trainer()
    saver = CheckpointSaver(str(tmp_path), parts(whole), save_interval=1, epoch_level=False, n_saved=10)
    saver.attach(whole)
    whole.run()
    resumed = trainer()
    path = str(tmp_path / f"checkpoint_iteration={iteration}.pt")
    CheckpointLoader(path, parts(resumed), map_location="cpu").attach(resumed)
    resumed.run()
    assert_ends_equal(resumed, whole)


def test_a_run_may_go_on_with_another_estimator_or_without_teaching(trainer: Build) -> None:
    first = trainer(hypergradient=UnrolledHypergradient(2), teacher_interval=2, max_epochs=1)
    first.run()
    content = saved(first)
    for change in ({"hypergradient": ExactHypergradient()}, {}, {"hypergradient": UnrolledHypergradient(1)}):
        other = trainer(**change)
        load(other, content)
        other.state.max_epochs = 2
        gain = other.teacher.gain.item()
        other.run()
        assert other.state.iteration == 10 and other.teacher.gain.item() != gain
    frozen = trainer(teacher_optimizer=None)
    states = torch.load(io.BytesIO(content), weights_only=True)
    frozen.load_state_dict(states["trainer"])
    frozen.state.max_epochs = 2
    frozen.run()
    assert frozen.state.iteration == 10


def test_workers_that_outlive_a_pass_are_reported(
    trainer: Build, loader: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    trainer(train_data_loader=loader(workers=1, persistent_workers=True))
    assert "train_data_loader has persistent_workers=True" in caplog.text


@pytest.mark.parametrize("own", [True, False])
def test_a_run_follows_its_seed_or_without_one_torchs(own: bool, trainer: Build, student: Any) -> None:
    ends = []
    for seed in (3, 3, 4):
        network, teacher = student(), policy()
        for parameter in [*network.parameters(), *teacher.parameters()]:
            nn.init.constant_(parameter, 0.1)
        given = trainer(network=network, teacher=teacher, seed=None)
        assert given.seed == 1  # torch's, which the fixture sets
        torch.manual_seed(5 if own else seed)
        run = GMCLTrainer(
            "cpu", 1, given.data_loader, network, given.optimizer, nn.CrossEntropyLoss(),
            teacher=teacher, teacher_optimizer=given.teacher_optimizer, seed=seed if own else None,
        )  # fmt: skip
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


def test_any_number_of_workers_gives_the_same_run(trainer: Build, items: Any) -> None:
    def end(count: int) -> list[torch.Tensor]:
        data = SeededItems(Dataset(items(), RandGaussianNoised("image", prob=0.5, std=0.05)), seed=1)
        loader = DataLoader(data, batch_size=5, shuffle=True, num_workers=count)
        run = trainer(train_data_loader=loader, train_handlers=[data])
        run.run()
        return end_of(run)

    first = end(0)
    for workers in (1, 3):
        assert all(torch.equal(a, b) for a, b in zip(first, end(workers), strict=True))
