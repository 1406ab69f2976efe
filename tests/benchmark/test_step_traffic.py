# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn

from monai_gmcl import GMCLTrainer, ImageTeacher, PolicyTeacher, Teacher
from monai_gmcl.benchmark.host_traffic import DEVICE
from monai_gmcl.benchmark.step_traffic import StepTraffic, traffic_of_steps, traffic_table
from monai_gmcl.handlers import CurriculumLog, HarmGuard, LessonProgressBar
from monai_gmcl.hypergradients import FiniteDifferenceHypergradient, HeadHypergradient
from monai_gmcl.weighting import ConfidenceWeighting, LookAheadWeighting, PseudoLabeler

BATCH, STEPS = 4, 10


FUSED = partial(torch.optim.Adam, fused=True)


@cache
def counted(
    side: int,
    teacher_class: type[Teacher] = PolicyTeacher,
    optimizer: Callable[..., Any] = torch.optim.Adam,
    on_device: Callable[[], dict[str, Any]] = dict,
    **options: Any,
) -> StepTraffic:
    def build() -> GMCLTrainer:
        given = {"non_blocking": True, "decollate": False, **options, **on_device()}
        data = torch.utils.data.TensorDataset(torch.rand(16, 3, side, side), torch.arange(16) % 2)
        layers = given.pop("layers", (nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)))
        network = nn.Sequential(*layers).to(DEVICE)
        teacher = teacher_class(2, 3, 2).to(DEVICE)
        arguments = {
            "train_data_loader": torch.utils.data.DataLoader(data, batch_size=BATCH),
            "loss_function": nn.CrossEntropyLoss(),
            "optimizer": optimizer(network.parameters(), lr=0.01),
            "teacher_optimizer": teacher.optimizer(),
        }
        then = given.pop("then", lambda trainer: None)
        trainer = GMCLTrainer(DEVICE, 1, network=network, teacher=teacher, seed=0, **{**arguments, **given})
        then(trainer)
        return trainer

    return traffic_of_steps(build, STEPS)


@pytest.mark.parametrize("teacher_class", [PolicyTeacher, ImageTeacher])
def test_a_step_costs_the_host_as_little_for_large_images_as_for_small_ones(teacher_class: type[Teacher]) -> None:
    small, large = counted(8, teacher_class), counted(24, teacher_class)
    for traffic, side in ((small, 8), (large, 24)):
        assert traffic.images == BATCH * STEPS
        total, batch = traffic.total, BATCH * (3 * side * side * 4 + 8) * STEPS
        assert 0 < sum(total.numbers.values()) <= 64 * traffic.images
        assert 0 <= sum(total.bytes_to_device.values()) - batch <= 1024 * traffic.images
    assert small.total.numbers == large.total.numbers and small.total.waits == large.total.waits


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize("teacher_class", [PolicyTeacher, ImageTeacher])
def test_in_nine_of_ten_steps_the_host_waits_for_nothing(teacher_class: type[Teacher], optimizer: Any) -> None:
    traffic = counted(8, teacher_class, optimizer)
    assert traffic.without_waiting == STEPS - 1
    # One reading, and the weights of both networks at the end of the epoch.
    assert sum(traffic.total.waits.values()) == 3
    assert not traffic.total.waits_of_others


def test_what_waits_in_prepare_batch_and_in_handlers_is_not_counted_as_the_trainers_own() -> None:
    traffic = counted(8, non_blocking=False, decollate=True)
    assert traffic.without_waiting == STEPS - 1
    of_batch = [count for name, count in traffic.total.waits_of_others.items() if name.startswith("prepare_batch")]
    # Images and labels.
    assert of_batch == [2 * STEPS]


def scale(trainer: GMCLTrainer) -> None:
    trainer.scaler = torch.amp.GradScaler(DEVICE.type, init_scale=8.0)


def masked() -> dict[str, Any]:
    masks = torch.randint(2, (BATCH, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return {
        "layers": (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)),
        "loss_function": DiceCELoss(softmax=True, to_onehot_y=True),
        "train_data_loader": [(torch.rand(BATCH, 3, 8, 8), masks.float())] * 5,
    }


def unlabeled(**options: Any) -> dict[str, Any]:
    return {"unlabeled_data_loader": [{"image": torch.rand(BATCH, 3, 8, 8)}] * 2, **options}


def several() -> dict[str, Any]:
    batch = torch.rand(BATCH, 3, 8, 8), torch.tensor([[0.0, 1.0], [1.0, 1.0]] * 2)
    return {"train_data_loader": [batch] * 5, "loss_function": nn.BCEWithLogitsLoss()}


@pytest.mark.parametrize(
    "options",
    [
        unlabeled,
        lambda: unlabeled(label_proposal=PseudoLabeler(align=True), weighting=ConfidenceWeighting(0.5)),
        lambda: unlabeled(label_proposal=PseudoLabeler(multi_label=True), **several()),
        lambda: unlabeled(
            label_proposal=lambda images: (images.flatten(1).argmax(1) % 2, images.new_ones(len(images)))
        ),
        lambda: {**masked(), **unlabeled(), "weighting": LookAheadWeighting()},
        lambda: {"weighting": LookAheadWeighting(HeadHypergradient())},
        lambda: {"hypergradient": FiniteDifferenceHypergradient()},
        lambda: {**several(), "meta_data_loader": several()["train_data_loader"]},
        lambda: {**masked(), **unlabeled(), "train_handlers": [HarmGuard(Engine(lambda *_: None))]},
    ],
)
def test_nothing_that_can_be_chosen_makes_the_host_wait(options: Callable[[], dict[str, Any]]) -> None:
    traffic = counted(8, on_device=options)
    assert traffic.without_waiting == STEPS - 1
    assert sum(traffic.total.waits.values()) <= 4 and not traffic.total.waits_of_others


@pytest.mark.parametrize(
    "handler", [CurriculumLog, lambda folder: HarmGuard(Engine(lambda *_: None)), lambda folder: LessonProgressBar()]
)
def test_handlers_read_the_device_when_the_trainer_does(handler: Callable[[Path], Any], tmp_path: Path) -> None:
    traffic = counted(8, train_handlers=(handler(tmp_path),))
    assert traffic.without_waiting == STEPS - 1
    assert sum(traffic.total.waits.values()) <= 4 and not traffic.total.waits_of_others


@pytest.mark.parametrize(("optimizer", "waits"), [(torch.optim.Adam, 1), (torch.optim.RMSprop, 1), (FUSED, 0)])
def test_with_a_loss_scale_only_an_optimizer_that_is_not_fused_waits(optimizer: Any, waits: int) -> None:
    traffic = counted(8, optimizer=optimizer, then=scale)
    assert sum(traffic.total.waits.values()) == 3 + waits * STEPS


def test_a_step_that_is_skipped_on_the_device_moves_nothing_and_is_counted() -> None:
    trainers: list[GMCLTrainer] = []
    weights: list[Tensor] = []

    def then(trainer: GMCLTrainer) -> None:
        scale(trainer)
        trainers.append(trainer)
        weight = trainer.network.get_parameter("3.weight")
        weight.register_hook(lambda gradient: gradient * (float("inf") if trainer.state.iteration == 12 else 1))  # type: ignore[no-untyped-call]
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: weights.append(weight.detach().clone()))

    counted(8, optimizer=FUSED, then=then)
    assert [bool((a == b).all()) for a, b in zip(weights, weights[1:], strict=False)] == [i == 10 for i in range(19)]
    assert trainers[0].dropped_lessons == 1
    # By the look-ahead of that step; with A = 0, the next one is finite.
    assert trainers[0].teacher_step is not None and trainers[0].teacher_step.skipped == 1


def moved(batch: Any, device: Any, non_blocking: bool, **kwargs: Any) -> Any:
    return tuple(part.to(device, non_blocking=True) for part in batch)


def made_there(batch: Any, device: Any, non_blocking: bool, **kwargs: Any) -> Any:
    images, labels = moved(batch, device, non_blocking)
    return images, 1 - labels


def changed_there(batch: Any, device: Any, non_blocking: bool, **kwargs: Any) -> Any:
    images, labels = moved(batch, device, non_blocking)
    labels[0] = 1
    return images, labels


@pytest.mark.parametrize(("prepare", "waits"), [(moved, 0), (made_there, STEPS), (changed_there, STEPS)])
def test_only_labels_that_are_made_or_changed_on_the_device_are_waited_for(prepare: Any, waits: int) -> None:
    traffic = counted(8, prepare_batch=prepare)
    assert traffic.without_waiting == (0 if waits else STEPS - 1)
    assert sum(traffic.total.waits.values()) == 3 + waits


def test_sources_that_are_kept_on_the_cpu_are_those_that_the_loader_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_gmcl.engines.lesson_sources.MOST_BYTES", 0)
    traffic = counted(8, epoch_length=STEPS)
    assert traffic.without_waiting == STEPS - 1
    assert not any("lesson_sources" in line for line in traffic.total.bytes_to_host)


def test_the_table_tells_each_count_a_step_and_an_image() -> None:
    traffic = counted(8, PolicyTeacher)
    lines = traffic_table(traffic).splitlines()
    (numbers,) = [line for line in lines if line.startswith("random numbers drawn")]
    assert float(numbers.split()[3]) == pytest.approx(BATCH * float(numbers.split()[4]), abs=0.1)
    assert lines[-1] == f"{traffic.without_waiting} of {STEPS} steps have no synchronization"
