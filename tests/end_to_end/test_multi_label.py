# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.metrics.rocauc import compute_roc_auc
from torch import Tensor, nn

from monai_gmcl import GMCLTrainer, HeadHypergradient, PolicyTeacher
from monai_gmcl.engines import GMCLKeys


def stripes(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with any of three patterns, each of them a label of its own: rows, columns, a bright center."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, 3, generator=generator) < 0.4).float()
    wave = 0.12 * torch.sin(torch.arange(12) * 1.5)
    distance = (torch.arange(12) - 5.5).square()
    center = 0.25 * torch.exp(-(distance[:, None] + distance) / 8)
    patterns = torch.stack([wave[:, None].expand(12, 12), wave.expand(12, 12), center])
    images = 0.4 + torch.einsum("nk,khw->nhw", labels, patterns) + 0.12 * torch.randn(n, 12, 12, generator=generator)
    return images.clamp(0, 1)[:, None], labels


def trained(gmcl: bool) -> tuple[nn.Module, SupervisedTrainer]:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(1, 12, 5, 2), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(192, 3))
    images, labels = stripes(60, 1)
    items = [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]
    arguments = {
        **{"device": "cpu", "max_epochs": 30, "train_data_loader": DataLoader(items, batch_size=20, shuffle=True)},
        **{"network": student, "optimizer": torch.optim.AdamW(student.parameters(), lr=3e-3)},
        **{"loss_function": nn.BCEWithLogitsLoss(), "decollate": False},
    }
    if not gmcl:
        trainer = SupervisedTrainer(**arguments)
    else:
        teacher = PolicyTeacher(2, 1, 3, exclude=("rotation",))
        optimizer = torch.optim.Adam(teacher.parameters(), lr=0.03)
        trainer = GMCLTrainer(
            **arguments, teacher=teacher, teacher_optimizer=optimizer, hypergradient=HeadHypergradient(), seed=0
        )
    trainer.run()
    return student.eval(), trainer


def auc(student: nn.Module) -> float:
    images, labels = stripes(600, 2)
    with torch.no_grad():
        return float(compute_roc_auc(student(images).sigmoid(), labels, average="macro"))


def test_a_student_of_several_labels_learns_from_lessons_and_the_teacher_from_the_student() -> None:
    student, trainer = trained(gmcl=True)
    found, plain = auc(student), auc(trained(gmcl=False)[0])
    assert found > 0.8 and found > plain - 0.03
    labels = trainer.state.output[GMCLKeys.SYNTHETIC_LABEL]
    assert labels.shape == (20, 3) and set(labels.unique().tolist()) <= {0.0, 1.0}
    shares = trainer.teacher.shares
    assert shares.isfinite().all() and not torch.equal(shares, torch.ones_like(shares))
