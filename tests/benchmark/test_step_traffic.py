# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_gmcl import GMCLTrainer, ImageTeacher, PolicyTeacher, Teacher
from monai_gmcl.benchmark.host_traffic import DEVICE
from monai_gmcl.benchmark.step_traffic import StepTraffic, traffic_of_steps, traffic_table

BATCH, STEPS = 4, 10


def counted(side: int, teacher_class: type[Teacher]) -> StepTraffic:
    def build() -> GMCLTrainer:
        data = torch.utils.data.TensorDataset(torch.rand(16, 3, side, side), torch.arange(16) % 2)
        network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)).to(DEVICE)
        teacher = teacher_class(2, 3, 2).to(DEVICE)
        return GMCLTrainer(
            device=DEVICE,
            max_epochs=1,
            train_data_loader=torch.utils.data.DataLoader(data, batch_size=BATCH),
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
            loss_function=nn.CrossEntropyLoss(),
            non_blocking=True,
            decollate=False,
            teacher=teacher,
            teacher_optimizer=teacher.optimizer(),
            seed=0,
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


def test_the_host_waits_for_the_device_no_more_often_than_we_know() -> None:
    # Twelve in each step, and the weights of both networks at the end of an epoch.
    waits = counted(8, PolicyTeacher).total.waits
    assert 0 < sum(waits.values()) <= 12 * STEPS + 2


def test_the_table_tells_each_count_a_step_and_an_image() -> None:
    traffic = counted(8, PolicyTeacher)
    lines = traffic_table(traffic).splitlines()
    (numbers,) = [line for line in lines if line.startswith("random numbers drawn")]
    assert float(numbers.split()[3]) == pytest.approx(BATCH * float(numbers.split()[4]), abs=0.1)
    assert lines[-1] == f"no point of synchronization in {traffic.without_waiting} of {STEPS} steps"
