# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the study: ``python -m studies.segmentation.run --data_dir ../shared/data``; goes on where its rows end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import torch
from ignite.engine import Events
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.engines.trainer import Trainer
from monai.losses.dice import DiceCELoss
from monai.metrics.meandice import compute_dice
from monai.networks.nets.unet import UNet
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import RandSpatialCropd
from monai.utils.misc import set_determinism
from torch import nn

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from studies.json_lines import append_row, read_rows
from studies.segmentation.arms import ARMS, TEACHER_ARMS, trainer_of, transforms_of
from studies.segmentation.images import SETS, Item, read_part

__all__ = ["run"]

BATCH, VALIDATIONS = 8, 20
PATCH = {"membranes": 96, "vessels": 64}
"""Pixels a side."""


def run(
    data_dir: str,
    sets: str | Sequence[str] = tuple(SETS),
    arms: str | Sequence[str] = ("none", "flips", "standard", "nnunet", "frozen_flips", "gmcl_flips"),
    n: int | Sequence[int] = (1, 3, 5),
    seeds: int | Sequence[int] = 5,
    steps: int = 1000,
    part: str = "valid",
    out: str = "studies/segmentation/rows.jsonl",
) -> None:
    """Run what is not among the rows yet, and append a row for each run.

    Args:
        data_dir: folder with ``membranes``.
        sets: ``membranes``, ``vessels``.
        arms: of :data:`studies.segmentation.arms.ARMS`.
        n: numbers of images with masks, 1 to 8.
        seeds: how many, from 0 on, or which ones.
        steps: of the student.
        part: where to measure: ``valid``, for development, or ``test``.
        out: file of rows, a JSON object a line.

    Raises:
        ConfigurationError: an unknown name or a number out of range.
        DataError: no images in ``data_dir``.
    """
    torch.set_num_threads(1)
    sets, arms = _known("sets", sets, SETS), _known("arms", arms, ARMS)
    numbers = [n] if isinstance(n, int) else list(n)
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not all(1 <= number <= 8 for number in numbers) or steps < VALIDATIONS or part not in ("valid", "test"):
        raise ConfigurationError(f"Expected n from 1 to 8, {VALIDATIONS} steps or more, part valid or test.")
    file = Path(out)
    done = [row["settings"] for row in read_rows(file)] if file.exists() else []
    for seed, name, number, arm in itertools.product(chosen, sets, numbers, arms):
        settings: dict[str, Any] = {"set": name, "n": number, "seed": seed, "arm": arm, "steps": steps, "part": part}
        if settings not in done:
            append_row({"settings": settings, **train(data_dir, **settings)}, out)


def train(data_dir: str, set: str, n: int, seed: int, arm: str, steps: int, part: str) -> dict[str, Any]:
    """Train a student and return its Dice on a part, of the best-validation and of the last checkpoint."""
    began = time.process_time()
    set_determinism(seed)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed)).tolist()
    train_set, valid = read_part(set, "train", data_dir), read_part(set, "valid", data_dir)
    # Development measures on the images of ``train`` that were not drawn.
    measured = read_part(set, "test", data_dir) if part == "test" else [train_set[i] for i in order[8:]]
    batch = BATCH // 2 if arm in TEACHER_ARMS else BATCH
    crop = RandSpatialCropd(("image", "label"), [PATCH[set]] * 2, random_size=False)
    every = steps // VALIDATIONS
    images = [train_set[order[i % n]] for i in range(batch * every)]
    patches = Dataset(images, Compose([crop, transforms_of(arm)]))
    student = UNet(2, 1, 2, (16, 32, 64), (2, 2), num_res_units=1)
    optimizer = torch.optim.AdamW(student.parameters(), 2e-3)
    trainer = trainer_of(
        arm,
        seed,
        device=torch.device("cpu"),
        max_epochs=VALIDATIONS,
        train_data_loader=DataLoader(patches, batch_size=batch, shuffle=True),
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
    return {
        "dice": {which: round(value, 5) for which, value in found.items()},
        "valid_dice": [round(value, 4) for value in course],
        "seconds": round(time.process_time() - began, 1),
        **_learned(trainer),
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


def _learned(trainer: Trainer) -> dict[str, Any]:
    if not isinstance(trainer, GMCLTrainer):
        return {}
    difficulty = trainer.curriculum.at(1.0).difficulty
    policy = trainer.teacher.policy(difficulty)
    shares = {name: round(row["share"], 3) for name, row in policy.items()}
    return {"difficulty": round(difficulty, 3), "policy": shares}


def _known(argument: str, given: str | Sequence[str], known: Sequence[str] | dict[str, Any]) -> list[str]:
    names = given.split(",") if isinstance(given, str) else list(given)
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(f"{argument}: expected some of {', '.join(known)}, got {', '.join(unknown)}.")
    return names


if __name__ == "__main__":
    fire.Fire(run)
