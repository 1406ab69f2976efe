# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.transforms import RandTeacherAugment
from studies.proof.arms import ARMS

OPTIONS = DataOptions("shades", 3, size=16, centered=True)


def labeled(n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2


def run_of(name: str, steps: int) -> StudentRun:
    run = StudentRun(ARMS[name].build, OPTIONS, labeled(), labeled(), seed=0, steps=steps)
    run.run()
    return run


def reuse_of(run: StudentRun) -> RandTeacherAugment:
    last = run.trainer.data_loader.dataset.augmentation.transforms[-1]
    assert isinstance(last, RandTeacherAugment)
    return last


@pytest.mark.parametrize("name", ["reused_teacher_alone", "reused_teacher"])
def test_the_teacher_is_the_one_that_gmcl_leaves_at_the_strength_where_it_ended(name: str) -> None:
    gmcl, run = run_of("gmcl", 4).trainer, run_of(name, 10)
    reuse = reuse_of(run)
    assert torch.equal(reuse.teacher.module.shares, gmcl.teacher.shares)
    assert reuse.difficulty == (gmcl.state.curriculum["difficulty"],) * 2
