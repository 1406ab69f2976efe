# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from monai.engines.trainer import SupervisedTrainer

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.curriculum import Competence
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


def test_only_gmcl_has_a_teacher_that_learns() -> None:
    assert trained("gmcl", STAIN).teacher_optimizer is not None
    assert all(trained(arm, STAIN).teacher_optimizer is None for arm in ("frozen", "competence", "oracle"))


def test_difficulty_is_led_by_competence_where_the_arm_says_so() -> None:
    for arm, led in (("frozen", False), ("oracle", False), ("competence", True), ("gmcl", True)):
        assert isinstance(trained(arm, STAIN).curriculum.difficulty, Competence) == led, arm


def test_a_teacher_does_not_move_a_centre_that_makes_the_label() -> None:
    assert not names(trained("gmcl", PCAM)) & {"shift", "zoom"}
    assert names(trained("gmcl", STAIN)) >= {"shift", "zoom"}


def test_the_oracle_is_for_changed_tasks_and_standard_transforms_beside_a_teacher_for_controls() -> None:
    for task in TASKS.values():
        assert ARMS["oracle"].suits(task) != task.is_control
        assert ARMS["gmcl_standard"].suits(task) == ARMS["frozen_standard"].suits(task) == task.is_control
        assert ARMS["gmcl"].suits(task) and ARMS["standard"].suits(task)


def test_real_images_beside_a_teacher_pass_as_they_are_or_by_standard_transforms() -> None:
    known = torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    for arm, as_they_are in (("gmcl", True), ("gmcl_standard", False), ("frozen_standard", False)):
        trainer = trained(arm, PCAM)
        assert not isinstance(trainer, SupervisedTrainer) or isinstance(trainer, GMCLTrainer)
        loader: Any = trainer.state.dataloader
        image = loader.dataset[0][0]
        assert any(torch.equal(image, one) for one in known) == as_they_are, arm
