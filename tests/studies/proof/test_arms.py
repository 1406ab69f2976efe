# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_gmcl.benchmark.arms import ARMS as USUAL
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.transforms import RandTeacherAugment
from studies.proof.arms import ARMS, TITLES

OPTIONS = DataOptions("shades", 3, size=16, centered=True)


def labeled(n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2


BATCHES = dict.fromkeys(
    (
        *("none", "standard", "strong", "trivial_augment", "mixup", "cutmix", "two_stage_gan", "self_training"),
        *("reused_teacher_alone", "reused_teacher"),
    ),
    1,
) | {"fixmatch": 3, "fixmatch_longer": 3, "gmcl_unlabeled": 5}
"""Batches that the student looks at in a step: with lessons 2, unlabeled ones in them 3, a look-ahead of its own 5."""

OWN = [name for name in ARMS if name not in USUAL]


def test_the_arms_of_the_package_are_the_same_here_and_all_have_a_title() -> None:
    assert all(ARMS[name] is arm for name, arm in USUAL.items())
    assert set(TITLES) == {*ARMS, "standard_tuned_within_budget", "strong_tuned_within_budget"}


@pytest.mark.parametrize("name", OWN)
def test_every_arm_trains_the_same_student_on_the_same_number_of_real_images(name: str) -> None:
    seen: list[int] = []
    runs = []
    for _ in range(2):
        run = StudentRun(ARMS[name].build, OPTIONS, labeled(), labeled(), seed=3, steps=4, unlabeled=labeled(40))
        before = {key: value.clone() for key, value in run.network.state_dict().items()}
        run.run()
        seen.append(run.passes_per_step)
        runs.append(run)
    assert (
        seen == [BATCHES.get(name, 3 if name.startswith(("gmcl_unlabeled", "gmcl_first_student")) else 2) * BATCH] * 2
    )
    assert any(not torch.equal(before[key], value) for key, value in run.weights["final"].items())
    assert all(torch.equal(a, b) for a, b in zip(*(run.weights["final"].values() for run in runs), strict=True))


def test_mixed_labels_follow_the_mixed_images() -> None:
    images = torch.arange(BATCH, dtype=torch.float32)[:, None, None, None].remainder(2).expand(BATCH, 3, 16, 16)
    labels = torch.arange(BATCH) % 2
    for name in ("mixup", "cutmix"):
        run = StudentRun(ARMS[name].build, OPTIONS, labeled(), labeled(), seed=0, steps=1)
        mixed, targets = run.trainer.prepare_batch((images, labels), torch.device("cpu"))
        assert torch.allclose(targets.sum(1), torch.ones(BATCH))
        assert ((targets > 0.01) & (targets < 0.99)).any()
        if name == "mixup":
            assert torch.allclose(mixed.mean((1, 2, 3)), targets[:, 1], atol=1e-5)
        else:
            # MONAI's boxes are cut off at the border, its labels are not: they agree in order only.
            assert torch.corrcoef(torch.stack([mixed.mean((1, 2, 3)), targets[:, 1]]))[0, 1] > 0.5


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
