# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.losses.dice import DiceCELoss
from torch import nn

from monai_gmcl import GMCLTrainer, ImageTeacher, PolicyTeacher, Teacher
from monai_gmcl.benchmark.host_traffic import DEVICE
from monai_gmcl.benchmark.step_traffic import StepTraffic, traffic_of_steps, traffic_table
from monai_gmcl.handlers import CurriculumLog, HarmGuard, LessonProgressBar
from monai_gmcl.hypergradients import FiniteDifferenceHypergradient, HeadHypergradient
from monai_gmcl.weighting import ConfidenceWeighting, LookAheadWeighting, PseudoLabeler

BATCH, STEPS = 4, 10


@cache
def counted(
    side: int,
    teacher_class: type[Teacher] = PolicyTeacher,
    adam: bool = True,
    on_device: Callable[[], dict[str, Any]] = dict,
    **options: Any,
) -> StepTraffic:
    def build() -> GMCLTrainer:
        given = {"non_blocking": True, "decollate": False, **options, **on_device()}
        data = torch.utils.data.TensorDataset(torch.rand(16, 3, side, side), torch.arange(16) % 2)
        layers = given.pop("layers", (nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)))
        network = nn.Sequential(*layers).to(DEVICE)
        teacher = teacher_class(2, 3, 2).to(DEVICE)
        optimizer = torch.optim.Adam if adam else partial(torch.optim.SGD, momentum=0.9)
        arguments = {
            "train_data_loader": torch.utils.data.DataLoader(data, batch_size=BATCH),
            "loss_function": nn.CrossEntropyLoss(),
            "optimizer": optimizer(network.parameters(), 0.01),
            "teacher_optimizer": teacher.optimizer(),
        }
        return GMCLTrainer(DEVICE, 1, network=network, teacher=teacher, seed=0, **{**arguments, **given})

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


@pytest.mark.parametrize("adam", [True, False])
@pytest.mark.parametrize("teacher_class", [PolicyTeacher, ImageTeacher])
def test_in_nine_of_ten_steps_the_host_waits_for_nothing(teacher_class: type[Teacher], adam: bool) -> None:
    traffic = counted(8, teacher_class, adam)
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


def test_labels_that_only_the_device_has_are_waited_for() -> None:
    def prepare(batch: Any, device: Any, non_blocking: bool, **kwargs: Any) -> Any:
        return tuple(part.to(device, non_blocking=True) for part in batch)

    traffic = counted(8, prepare_batch=prepare)
    assert traffic.without_waiting == 0
    assert sum(traffic.total.waits.values()) == 3 + STEPS


def test_the_table_tells_each_count_a_step_and_an_image() -> None:
    traffic = counted(8, PolicyTeacher)
    lines = traffic_table(traffic).splitlines()
    (numbers,) = [line for line in lines if line.startswith("random numbers drawn")]
    assert float(numbers.split()[3]) == pytest.approx(BATCH * float(numbers.split()[4]), abs=0.1)
    assert lines[-1] == f"no point of synchronization in {traffic.without_waiting} of {STEPS} steps"
