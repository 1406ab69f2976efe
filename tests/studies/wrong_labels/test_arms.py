# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.engines import GMCLTrainer
from studies.wrong_labels.arms import ARMS
from studies.wrong_labels.noise import LabeledSet

OPTIONS = DataOptions("nowhere", 1, size=12)


def images_of(n: int, seed: int) -> Any:
    labels = torch.arange(n) % 2
    return torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed)), labels


def labeled_set() -> LabeledSet:
    images, labels = images_of(40, 0)
    false = torch.arange(40) % 10 < 3
    return LabeledSet((images, torch.where(false, 1 - labels, labels)), labels, images_of(34, 1))


def run_of(arm: str, steps: int = 3) -> StudentRun:
    data = labeled_set()

    def build(setup: Setup) -> Any:
        return ARMS[arm].build(setup, data, 0.3)

    run = StudentRun(build, OPTIONS, data.every, data.trusted, 0, steps)
    run.run()
    return run


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_a_student_with_the_passes_that_it_says(arm: str) -> None:
    run = run_of(arm)
    assert run.trainer.state.iteration == 3
    assert isinstance(run.trainer, GMCLTrainer) == arm.startswith("ours")
    # Those of co-teaching's second student, and of the second derivatives of reweighting, are not seen from outside.
    unseen = 1 if arm in ("co_teaching", "reweight") else 0
    assert run.passes_per_step == BATCH * (ARMS[arm].passes - unseen)


@pytest.mark.parametrize(
    ("arm", "trusted", "false"), [("right", 34, 0), ("equal", 34, 12), ("trusted_alone", 34, 0), ("ours", 0, 12)]
)
def test_an_arm_trains_on_the_labels_that_it_is_given(arm: str, trusted: int, false: int) -> None:
    data = labeled_set()
    loader: Any = run_of(arm).trainer.data_loader
    learned = loader.dataset
    assert learned.images.shape[0] == trusted + (0 if arm == "trusted_alone" else 40)
    if arm != "trusted_alone":
        assert int((learned.known[0][:40] != data.right).sum()) == false
