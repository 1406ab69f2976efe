# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.engines import GMCLTrainer
from studies.policies.arms import ARMS
from studies.policies.tasks import TASKS, Task

STAIN, PCAM, TURNED = TASKS["stain"], TASKS["pcam"], TASKS["turned"]


def trained(arm: str, task: Task, steps: int = 2) -> Any:
    options: DataOptions = dataclasses.replace(task.options("nowhere"), size=12, crop=None)
    labels = torch.arange(12) % options.classes
    images = torch.rand(12, options.channels, 12, 12, generator=torch.Generator().manual_seed(0))
    run = StudentRun(ARMS[arm].build(task), options, (images, labels), (images, labels), 0, steps)
    run.run()
    return run.trainer


def names(trainer: GMCLTrainer) -> set[str]:
    teacher: Any = trainer.teacher
    return {operation.name for operation in teacher.operations}


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.suits(STAIN)])
def test_every_arm_trains_a_student(arm: str) -> None:
    trainer = trained(arm, STAIN)
    assert trainer.state.iteration == 2
    assert isinstance(trainer, GMCLTrainer) == (arm in ("frozen", "competence", "gmcl", "oracle"))


def test_the_oracle_leaves_out_the_harmful_operations_and_no_others() -> None:
    for task in (STAIN, TURNED, TASKS["scale"]):
        assert names(trained("frozen", task)) - names(trained("oracle", task)) == set(task.harmful)
