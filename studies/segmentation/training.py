# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The training of a small U-Net on patches, and its Dice on whole images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Events
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.engines.trainer import Trainer
from monai.losses.dice import DiceCELoss
from monai.metrics.meandice import compute_dice
from monai.networks.nets.unet import UNet
from torch import nn
from torch.utils.data import Sampler

from studies.segmentation.images import Item

__all__ = ["VALIDATIONS", "dice", "train_student"]

VALIDATIONS = 20


def train_student(
    build: Callable[..., Trainer],
    patches: Dataset,
    batch: int,
    steps: int,
    valid: Sequence[Item],
    measured: Sequence[Item],
    sampler: Sampler[int] | None = None,
    dims: int = 2,
) -> tuple[Trainer, dict[str, Any]]:
    """Train a student and return its trainer, and its Dice.

    Args:
        build: makes the trainer from the arguments of :class:`monai.engines.SupervisedTrainer`.
        patches: one validation's worth of training patches, or more with a ``sampler``.
        batch: patches of a step.
        steps: of the learning rate's schedule: 20 epochs.
        valid: images that choose the best-validation checkpoint.
        measured: images on which Dice is measured.
        sampler: draws patches. Default: each once, in random order.
        dims: spatial dimensions of the images, 2 or 3.

    Returns:
        The trainer and ``dice`` of ``measured`` by checkpoint, ``valid_dice`` in the course of training.
    """
    student = UNet(dims, 1, 2, (16, 32, 64), (2, 2), num_res_units=1)
    optimizer = torch.optim.AdamW(student.parameters(), 2e-3)
    trainer = build(
        device=torch.device("cpu"),
        max_epochs=VALIDATIONS,
        train_data_loader=DataLoader(patches, batch_size=batch, shuffle=sampler is None, sampler=sampler),
        network=student,
        optimizer=optimizer,
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: schedule.step())
    course: list[float] = []
    best: dict[str, torch.Tensor] = {}

    def validate() -> None:
        course.append(dice(student, valid))
        if course[-1] >= max(course):
            best.update({name: value.clone() for name, value in student.state_dict().items()})

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    trainer.run()
    found = {"final": dice(student, measured)}
    student.load_state_dict(best)
    found["chosen"] = dice(student, measured)
    return trainer, {
        "dice": {which: round(value, 5) for which, value in found.items()},
        "valid_dice": [round(value, 4) for value in course],
    }


@torch.no_grad()
def dice(student: nn.Module, items: Sequence[Item]) -> float:
    """Return the mean Dice of whole images."""
    student.eval()
    found = [
        compute_dice(
            student(item["image"][None]).argmax(1, keepdim=True),
            item["label"][None],
            include_background=False,
            num_classes=2,
        ).item()
        for item in items
    ]
    student.train()
    return sum(found) / len(found)
