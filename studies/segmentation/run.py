# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the study: ``python -m studies.segmentation.run --data_dir ../shared/data``; goes on where its rows end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.engines.trainer import Trainer
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import RandSpatialCropd
from monai.transforms.utility.dictionary import DeleteItemsd
from monai.utils.misc import set_determinism

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from studies.grid import FieldsJob, checked_names, run_missing, seeds_of, without_rows
from studies.segmentation.arms import ARMS, TEACHER_ARMS, UNLABELED_ARMS, trainer_of, transforms_of
from studies.segmentation.images import SETS, Item, read_part
from studies.segmentation.training import VALIDATIONS, train_student

__all__ = ["BATCH", "BATCH_3D", "PARTS", "PATCH", "Job", "batches_of", "random_patch", "run"]

BATCH, BATCH_3D = 8, 4
"""Patches of a step that pass through the student."""
PATCH = {"membranes": (96, 96), "vessels": (64, 64), "lesions": (32, 32, 32)}
"""Pixels or voxels a side."""
PARTS = ("valid", "test")


@dataclass(frozen=True)
class Job(FieldsJob):
    """One run; what its arguments mean is told by :func:`run`."""

    set: str
    n: int
    seed: int
    arm: str
    steps: int
    part: str


def run(
    data_dir: str,
    sets: str | Sequence[str] = tuple(SETS),
    arms: str | Sequence[str] = ("none", "flips", "standard", "nnunet", "frozen_flips", "gmcl_flips"),
    n: int | Sequence[int] = (1, 3, 5),
    seeds: int | Sequence[int] = 5,
    steps: int = 1000,
    part: str = "valid",
    workers: int = 1,
    out: str = "studies/segmentation/rows.jsonl",
) -> None:
    """Run what is not among the rows yet, and append a row for each run.

    Args:
        data_dir: folder with ``membranes``.
        sets: ``membranes``, ``vessels``, ``lesions``.
        arms: of :data:`studies.segmentation.arms.ARMS`.
        n: numbers of images with masks, 1 to 7.
        seeds: how many, from 0 on, or which ones.
        steps: of the student.
        part: where to measure: ``valid``, for development, or ``test``.
        workers: processes, one thread each.
        out: file of rows, a JSON object a line.

    Raises:
        ConfigurationError: an unknown name, a number out of range, or another command that writes to ``out``.
        DataError: a damaged file of rows, or no images in ``data_dir``.
    """
    torch.set_num_threads(1)
    sets, arms = checked_names("sets", sets, SETS), checked_names("arms", arms, ARMS)
    (measured,) = checked_names("part", part, PARTS)
    numbers = [n] if isinstance(n, int) else list(n)
    chosen = seeds_of(seeds)
    if not all(1 <= number <= 7 for number in numbers) or steps < VALIDATIONS or workers < 1:
        raise ConfigurationError(f"Expected n from 1 to 7, {VALIDATIONS} steps or more and workers from 1.")
    for name in sets:
        # The processes of the runs find the images in memory.
        for each in ("train", "valid", measured):
            read_part(name, each, data_dir)
    grid = itertools.product(chosen, sets, numbers, arms)
    jobs = [Job(name, number, seed, arm, steps, measured) for seed, name, number, arm in grid]
    with without_rows(jobs, Path(out), Job.__dataclass_fields__) as missing:
        run_missing(missing, partial(_run, data_dir), workers, Path(out), _told, "dice")


def _told(job: Job) -> str:
    return f"{job.set} n={job.n} seed {job.seed} {job.arm}"


def _run(data_dir: str, job: Job) -> dict[str, Any]:
    """Train a student and return its Dice on a part, of the best-validation and of the last checkpoint."""
    began = time.process_time()
    set_determinism(job.seed)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(job.seed)).tolist()
    train, valid = read_part(job.set, "train", data_dir), read_part(job.set, "valid", data_dir)
    shuffled, dims = [train[i] for i in order], len(PATCH[job.set])
    # Development measures on the last two images of ``train``, on which no arm trains.
    measured = read_part(job.set, "test", data_dir) if job.part == "test" else shuffled[8:]

    def patches_of(images: list[Item], batch: int, *more: Any) -> Dataset:
        count = batch * (job.steps // VALIDATIONS)
        changes = Compose([random_patch(job.set), transforms_of(job.arm, dims), *more])
        return Dataset([images[i % len(images)] for i in range(count)], changes)

    batch, unlabeled = batches_of(job)
    build = partial(trainer_of, job.arm, job.seed, dims)
    if unlabeled:
        others = patches_of(shuffled[job.n : None if job.part == "test" else 8], unlabeled, DeleteItemsd("label"))
        build = partial(build, unlabeled=DataLoader(others, batch_size=unlabeled, shuffle=True))
    patches = patches_of(shuffled[: job.n], batch)
    trainer, found = train_student(build, patches, batch, job.steps, valid, measured, dims=dims)
    seconds = round(time.process_time() - began, 1)
    return {"settings": job.settings, **found, "seconds": seconds, **_learned(trainer)}


def batches_of(job: Job) -> tuple[int, int]:
    """Return how many patches of labeled and of unlabeled images a step has; with the lesson, all arms have as many."""
    passes = BATCH_3D if job.set == "lesions" else BATCH
    if job.arm in UNLABELED_ARMS:
        return passes // 4, passes // 2
    return passes // 2 if job.arm in TEACHER_ARMS else passes, 0


def random_patch(name: str) -> RandSpatialCropd:
    """Return the transform that crops a patch of an image of a set and of its mask."""
    return RandSpatialCropd(("image", "label"), PATCH[name], random_size=False)


def _learned(trainer: Trainer) -> dict[str, Any]:
    if not isinstance(trainer, GMCLTrainer):
        return {}
    difficulty = trainer.curriculum.at(1.0).difficulty
    policy = trainer.teacher.policy(difficulty)
    shares = {name: round(row["share"], 3) for name, row in policy.items()}
    return {"difficulty": round(difficulty, 3), "policy": shares}


if __name__ == "__main__":
    fire.Fire(run)
