# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import StudentRun
from studies.proof.gan_distance import kernel_distance
from studies.proof.gan_selection import select
from studies.proof.gan_training import GanOptions, TrainedGenerator, draw, train_gan
from studies.proof.two_stage_gan import ADDED, CLASSIFIER_LENGTH, KEEP, LENGTH, TwoStageTrainer, two_stage_gan


def test_the_distance_is_the_mean_kernel_of_pairs() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).double()

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / 3 + 1) ** 3

    within_x = [kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    expected = sum(within_x) / 20 + sum(within_y) / 12 - 2 * sum(between) / 20
    assert kernel_distance(x, y) == pytest.approx(expected, abs=1e-9)


class Classifier(nn.Module):
    """Features are the two pixels; the first says how sure class 1 is."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 2)
        self.last.weight.data = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
        self.last.bias.data.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(images.flatten(1))
        return found


def images(*pixels: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(pixels)[:, None, None]


def test_the_sure_and_typical_images_of_each_class_are_kept() -> None:
    real = images((1.0, 0.0), (1.0, 2.0), (-1.0, 0.0)), torch.tensor([1, 1, 0])
    # Class 1, center (1, 1): unsure; sure but far; sure and near; surest but farthest. Class 0: the last is near.
    drawn = (
        images((-2.0, 1.0), (2.0, 3.0), (1.5, 1.0), (3.0, -5.0), (-1.0, 9.0), (5.0, 0.0), (-2.0, 0.0), (-1.0, 8.0)),
        torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]),
    )
    assert select(drawn, real, Classifier(), keep=0.25).tolist() == [1, 6]
    assert select(drawn, real, Classifier(), keep=0.5).tolist() == [1, 2, 6, 7]
    assert select(drawn, real, Classifier(), keep=1.0).tolist() == list(range(8))


SMALL = GanOptions(channels=4, batch=16, learning_rate=5e-3, average=0.05)


def dark_and_light() -> tuple[torch.Tensor, torch.Tensor]:
    """Dark images of class 0 and light ones of class 1."""
    labels = torch.arange(20) % 2
    noise = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.3 * noise + 0.7 * labels[:, None, None, None], labels


@pytest.fixture(scope="module")
def trained() -> TrainedGenerator:
    return train_gan(*dark_and_light(), 2, 300, seed=0, options=SMALL)


def test_the_generator_learns_what_the_classes_look_like(trained: TrainedGenerator) -> None:
    labels = torch.arange(40) % 2
    levels = draw(trained.network, labels, seed=1).mean((1, 2, 3))
    assert levels[labels == 0].max() < 0.4 and levels[labels == 1].min() > 0.5


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
