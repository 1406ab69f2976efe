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
from torch import nn

from monai_gmcl import GMCLTrainer, ImageTeacher, PolicyTeacher, Teacher
from monai_gmcl.benchmark.host_traffic import DEVICE
from monai_gmcl.benchmark.step_traffic import StepTraffic, traffic_of_steps, traffic_table
from monai_gmcl.handlers import CurriculumLog, HarmGuard, LessonProgressBar

BATCH, STEPS = 4, 10


@cache
def counted(side: int, teacher_class: type[Teacher] = PolicyTeacher, adam: bool = True, **options: Any) -> StepTraffic:
    def build() -> GMCLTrainer:
        data = torch.utils.data.TensorDataset(torch.rand(16, 3, side, side), torch.arange(16) % 2)
        network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)).to(DEVICE)
        teacher = teacher_class(2, 3, 2).to(DEVICE)
        return GMCLTrainer(
            device=DEVICE,
            max_epochs=1,
            train_data_loader=torch.utils.data.DataLoader(data, batch_size=BATCH),
            network=network,
            optimizer=(torch.optim.Adam if adam else partial(torch.optim.SGD, momentum=0.9))(
                network.parameters(), 0.01
            ),
            loss_function=nn.CrossEntropyLoss(),
            teacher=teacher,
            teacher_optimizer=teacher.optimizer(),
            seed=0,
            **{"non_blocking": True, "decollate": False, **options},
        )

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
