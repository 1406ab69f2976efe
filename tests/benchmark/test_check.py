# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_gmcl import ForwardHypergradient, GMCLTrainer, PolicyTeacher
from monai_gmcl.benchmark.check import check_estimators
from monai_gmcl.commands.check import report_table
from monai_gmcl.exceptions import ConfigurationError


def build(network: nn.Module, learns: bool = True) -> GMCLTrainer:
    torch.manual_seed(0)
    images, labels = torch.rand(16, 3, 8, 8), torch.arange(16) % 2
    teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2)
    return GMCLTrainer(
        device="cpu",
        max_epochs=5,
        train_data_loader=DataLoader(TensorDataset(images, labels), batch_size=8),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=nn.CrossEntropyLoss(),
        teacher=teacher,
        teacher_optimizer=torch.optim.Adam(teacher.parameters()) if learns else None,
        seed=0,
    )


def smooth(end: Callable[[], nn.Module] = lambda: nn.Linear(4, 2)) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), end())


def test_every_estimator_is_set_beside_the_exact_one_with_time_and_memory() -> None:
    reports = {report.name: report for report in check_estimators(build(smooth()), repeats=1)}
    assert len(reports) == 5
    for name in ("ExactHypergradient", "ForwardHypergradient", "UnrolledHypergradient"):
        assert reports[name].cosine == pytest.approx(1.0, abs=1e-4)
    assert -1 <= reports["HeadHypergradient"].cosine <= 1
    assert all(report.milliseconds > 0 and report.passes > 0 and report.mebibytes > 0 for report in reports.values())
    assert reports["ExactHypergradient"].mebibytes > reports["HeadHypergradient"].mebibytes


def test_an_estimator_that_the_student_does_not_allow_is_reported_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError("a layer has no forward derivative\nmore")

    monkeypatch.setattr(ForwardHypergradient, "__call__", refuse)
    reports = {report.name: report for report in check_estimators(build(smooth()), repeats=1)}
    assert reports["ForwardHypergradient"].failure == "a layer has no forward derivative"
    assert not reports["HeadHypergradient"].failure
    assert "not available: a layer has no" in report_table(list(reports.values()))


def test_a_frozen_teacher_has_nothing_to_check() -> None:
    with pytest.raises(ConfigurationError, match="teacher_optimizer"):
        check_estimators(build(smooth(), learns=False))
    with pytest.raises(ConfigurationError, match="iterations must be at least 2, got 1"):
        check_estimators(build(smooth()), iterations=1)
