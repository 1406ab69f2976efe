# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of the study: each builds the trainer of one way to stretch the labeled images of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.transforms.compose import Compose

from monai_gmcl.benchmark.arms import policy_teacher
from monai_gmcl.benchmark.augmentations import (
    no_augmentation,
    standard_augmentation,
    strong_augmentation,
    trivial_augmentation,
)
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import Setup
from monai_gmcl.curriculum import Curriculum
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.teachers import PolicyTeacher
from studies.policies.tasks import Task

__all__ = ["ARMS", "StudyArm"]

Augmentation = Callable[[DataOptions], Compose]


@dataclass(frozen=True)
class StudyArm:
    """One way to stretch a small labeled set.

    Attributes:
        title: as the report calls it.
        build: makes, for a task, what makes a run's trainer.
        equal_compute: whether it gets as many steps as the FLOPs of a GMCL run buy; the others take GMCL's steps.
        changed_only: only for tasks with operations that are known to be harmful.
        controls_only: only for controls.
    """

    title: str
    build: Callable[[Task], Callable[[Setup], Trainer]]
    equal_compute: bool = False
    changed_only: bool = False
    controls_only: bool = False

    def suits(self, task: Task) -> bool:
        """Return whether the arm is run on a task."""
        return not (self.changed_only and not task.harmful) and not (self.controls_only and not task.is_control)


def _nothing(_: DataOptions) -> Compose:
    return no_augmentation()


def _supervised(augmentation: Augmentation) -> Callable[[Task], Callable[[Setup], Trainer]]:
    def build(setup: Setup) -> Trainer:
        return SupervisedTrainer(**setup.arguments(augmentation(setup.options)))

    return lambda _: build


def _with_teacher(
    learned: bool = False, known: bool = False, augmentation: Augmentation = _nothing, **curriculum: Any
) -> Callable[[Task], Callable[[Setup], Trainer]]:
    """Return the builder of arms with a teacher.

    Args:
        learned: whether the teacher learns.
        known: whether it is known, and heeded, which operations are harmful.
        augmentation: of the real images.
        **curriculum: arguments of :class:`monai_gmcl.curriculum.Curriculum`; its default is led by competence.
    """

    def build(task: Task, setup: Setup) -> Trainer:
        teacher = _teacher(setup.options, task.harmful if known else ())
        return GMCLTrainer(
            **setup.arguments(augmentation(setup.options)),
            teacher=teacher,
            teacher_optimizer=teacher.optimizer() if learned else None,
            curriculum=Curriculum(**curriculum),
            seed=setup.seed,
        )

    return lambda task: partial(build, task)


def _teacher(options: DataOptions, harmful: tuple[str, ...]) -> PolicyTeacher:
    """The teacher of the comparisons, without the harmful operations and what moves a centre that makes the label."""
    kept = [operation.name for operation in policy_teacher(options).operations if operation.name not in harmful]
    return PolicyTeacher(options.spatial_dims, options.channels, options.classes, include=kept)


ARMS: dict[str, StudyArm] = {
    "none": StudyArm("no augmentation", _supervised(_nothing)),
    "standard": StudyArm("standard transforms", _supervised(standard_augmentation)),
    "strong": StudyArm("strong transforms", _supervised(strong_augmentation)),
    "trivial_augment": StudyArm("TrivialAugment", _supervised(trivial_augmentation)),
    "none_equal_compute": StudyArm("no augmentation, equal compute", _supervised(_nothing), True),
    "standard_equal_compute": StudyArm("standard transforms, equal compute", _supervised(standard_augmentation), True),
    "strong_equal_compute": StudyArm("strong transforms, equal compute", _supervised(strong_augmentation), True),
    "trivial_augment_equal_compute": StudyArm("TrivialAugment, equal compute", _supervised(trivial_augmentation), True),
    "frozen": StudyArm("frozen teacher", _with_teacher(difficulty=1.0)),
    "competence": StudyArm("frozen teacher, led by competence", _with_teacher()),
    "gmcl": StudyArm("GMCL", _with_teacher(learned=True)),
    "oracle": StudyArm(
        "oracle: frozen teacher without the harmful operations",
        _with_teacher(known=True, difficulty=1.0),
        changed_only=True,
    ),
    "frozen_standard": StudyArm(
        "frozen teacher, real images by standard transforms",
        _with_teacher(augmentation=standard_augmentation, difficulty=1.0),
        controls_only=True,
    ),
    "gmcl_standard": StudyArm(
        "GMCL, real images by standard transforms",
        _with_teacher(learned=True, augmentation=standard_augmentation),
        controls_only=True,
    ),
}
"""In the order of tables."""
