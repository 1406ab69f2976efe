# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import StudentRun
from studies.proof.two_stage_gan import ADDED, CLASSIFIER_LENGTH, KEEP, LENGTH, TwoStageTrainer, two_stage_gan

OPTIONS = DataOptions("shades", 1, size=8)
STEPS = 8


def labeled(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 2
    noise = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return 0.5 * noise + 0.5 * labels[:, None, None, None], labels


def run_of(strength: float) -> StudentRun:
    found = StudentRun(two_stage_gan, OPTIONS, labeled(20, 0), labeled(20, 1), 0, STEPS, strength)
    found.run()
    return found


@pytest.fixture(scope="module")
def run() -> StudentRun:
    return run_of(1.0)


def stage_of(run: StudentRun) -> TwoStageTrainer:
    assert isinstance(run.trainer, TwoStageTrainer)
    return run.trainer


def test_the_student_trains_on_real_and_selected_images(run: StudentRun) -> None:
    trainer = stage_of(run)
    dataset = trainer.data_loader.dataset  # type: ignore[union-attr]
    images, labels = trainer.stage.added
    assert len(images) == 20 * ADDED and (labels == 1).sum() == len(labels) / 2
    assert len(trainer.stage.drawn[0]) == len(images) / KEEP
    assert len(dataset) == 20 + len(images)
    assert len(trainer.data_loader) == STEPS  # type: ignore[arg-type]


def test_all_that_is_trained_is_counted(run: StudentRun) -> None:
    classifier = stage_of(run).stage.classifier
    assert classifier.steps == CLASSIFIER_LENGTH * STEPS
    assert run.cost["student_passes"] == (1 + CLASSIFIER_LENGTH) * STEPS * BATCH
    students = (1 + CLASSIFIER_LENGTH) * STEPS * run.flops_per_step
    longer = run_of(2.0)
    # Twice the GAN's steps cost as much again as it did; what is left is selection.
    gan = longer.cost["flops"] - run.cost["flops"]
    selection = run.cost["flops"] - students - gan
    assert gan > 0 and 0 < selection < students
    assert stage_of(run).stage.steps == LENGTH * STEPS and stage_of(longer).stage.steps == 2 * LENGTH * STEPS
    assert run.cost["wall_seconds"] > classifier.cost["wall_seconds"]


def test_a_row_says_what_the_synthetic_images_are_like(run: StudentRun) -> None:
    stage = stage_of(run).stage
    found = stage.measures(labeled(30, 2))
    gan = found["gan"]
    assert gan["length"] == LENGTH * STEPS and gan["selected_share"] == KEEP
    # Hardly trained: its images are nothing like the real ones, which are like the held-out ones.
    assert gan["kid_drawn"] > gan["kid_real"] and gan["kid"] != gan["kid_drawn"]
    assert 0 <= found["memorization"] <= 1
    assert 0 < found["diversity"] < 1 and 0 < gan["diversity"] < 1 and 0 < gan["diversity_real"] < 1
