# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_gmcl import GMCLTrainer, PolicyTeacher
from monai_gmcl.benchmark.cost_model import PASSES, cost_of_passes, cost_table
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import ForwardHypergradient

CONVOLUTION = 2 * 6 * 6 * 4 * 9
"""Operations of one image's pass through the convolution: multiplications and additions."""
LINEAR = 2 * 36 * 3


def trainer_of(head: nn.Module, **options: Any) -> GMCLTrainer:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), head)
    teacher = PolicyTeacher(spatial_dims=2, in_channels=1, num_classes=3, include=["brightness"])
    batches = [(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))] * 5
    optimizer = torch.optim.Adam(teacher.parameters())
    return GMCLTrainer(
        "cpu",
        1,
        batches,
        student,
        torch.optim.SGD(student.parameters(), lr=0.01),
        nn.CrossEntropyLoss(),
        decollate=False,
        seed=0,
        **{"teacher": teacher, "teacher_optimizer": optimizer, **options},
    )


def test_operations_are_those_that_the_passes_must_do() -> None:
    reports = {report.name: report for report in cost_of_passes(trainer_of(nn.Linear(36, 3)), iterations=4, runs=1)}
    head = reports["HeadHypergradient"]
    forward = 4 * (CONVOLUTION + LINEAR)
    assert head.flops["real images: forward"] == head.flops["lesson: forward"] == forward
    # By weights: as many operations as forward; by activations: of the linear layer alone, images need none.
    assert head.flops["real images: backward"] == head.flops["lesson: backward"] == forward + 4 * LINEAR
    assert head.supervised_flops == 2 * (2 * forward + 4 * LINEAR)
    # From the head's inputs to the images, and what the closed form takes at the head.
    assert 4 * CONVOLUTION <= head.flops["hypergradient"] <= 4 * (CONVOLUTION + 4 * LINEAR)
    assert head.flops["teacher: forward"] == head.flops["student: step"] == head.flops["all else"] == 0
    assert 1 < head.expected < reports["FiniteDifferenceHypergradient"].expected < 3


def test_time_is_measured_pass_by_pass_for_each_estimator() -> None:
    reports = cost_of_passes(trainer_of(nn.Linear(36, 3)), iterations=4, runs=2)
    for report in reports:
        assert not report.failure
        assert tuple(report.seconds) == PASSES
        assert min(report.seconds.values()) > 0
        assert report.measured > 0
    lines = cost_table(reports).splitlines()
    assert lines[0].startswith("pass, with HeadHypergradient")
    assert [line.split("  ")[0] for line in lines[1 : len(PASSES) + 1]] == list(PASSES)
    assert all(any(line.startswith(report.name) for line in lines) for report in reports)


def test_an_estimator_that_does_not_suit_the_student_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise NotImplementedError("no forward mode for this layer\nand more")

    monkeypatch.setattr(ForwardHypergradient, "__call__", fail)
    reports = cost_of_passes(trainer_of(nn.Linear(36, 3)), iterations=4, runs=2)
    failures = {report.name: report.failure for report in reports if report.failure}
    assert failures == {"ForwardHypergradient": "no forward mode for this layer"}
    assert "not available: no forward mode for this layer\n" in cost_table(reports)


@pytest.mark.parametrize("options", [{"teacher_optimizer": None}, {"teacher_interval": 2}, {"accumulation_steps": 2}])
def test_a_teacher_that_does_not_learn_at_each_step_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Expected a teacher_optimizer, teacher_interval=1"):
        cost_of_passes(trainer_of(nn.Linear(36, 3), **options))


def test_too_few_iterations_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="iterations must be above 2, got 2"):
        cost_of_passes(trainer_of(nn.Linear(36, 3)), iterations=2)
