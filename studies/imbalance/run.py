# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a rare class gains from lessons: ``python -m studies.imbalance.run``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import fire
import torch
from monai.data.meta_obj import set_track_meta
from monai.engines.trainer import SupervisedTrainer, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, WeightedRandomSampler

from monai_gmcl.benchmark.arms import gmcl_arm
from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.curriculum import ClassSampler
from monai_gmcl.metrics.classification import classification_measures

__all__ = ["imbalance"]

RARE = 1
MEASURES = {"sensitivity": "recall", "specificity": "specificity", "recall_at_90": "recall at .9", "auc": "AUC"}


def _supervised(setup: Setup) -> Trainer:
    return SupervisedTrainer(**setup.arguments(standard_augmentation(setup.options)))


def _oversampled(setup: Setup) -> Trainer:
    """Each class as often in a batch, which is what is done without a teacher."""
    arguments = setup.arguments(standard_augmentation(setup.options))
    labels = setup.labeled[1]
    sampler = WeightedRandomSampler((1 / labels.bincount())[labels].tolist(), setup.steps * BATCH)
    arguments["train_data_loader"] = DataLoader(
        arguments["train_data_loader"].dataset, batch_size=BATCH, sampler=sampler
    )
    return SupervisedTrainer(**arguments)


def _gmcl(mode: str) -> Callable[[Setup], Trainer]:
    # A sampler for each run: it counts the errors of its own student.
    return lambda setup: gmcl_arm(class_sampler=ClassSampler(mode))(setup)


WAYS: dict[str, tuple[Callable[[Setup], Trainer], int]] = {
    "SupervisedTrainer, twice the steps": (_supervised, 2),
    "SupervisedTrainer, balanced batches, twice the steps": (_oversampled, 2),
    "GMCL, lessons as the data": (_gmcl("data"), 1),
    "GMCL, balanced lessons": (_gmcl("balanced"), 1),
    "GMCL, lessons by errors": (_gmcl("errors"), 1),
}
"""Trainer, and length in GMCL's steps: twice as many make as many student passes over images."""


def imbalance(
    data_dir: str,
    common: int = 400,
    rare: int = 20,
    seeds: int | Sequence[int] = 3,
    steps: int = 600,
    channels: int = 3,
    crop: int | None = None,
    size: int | None = None,
    upright: bool = False,
    centered: bool = False,
    report: str | None = None,
) -> None:
    """Print recall and specificity of a rare class, its recall where specificity is .9, and its AUC; final weights.

    A student of a rare class seldom says so at the usual threshold of one half; where the threshold is chosen, by a
    specificity that one can live with, says more.

    Measured on balanced images of ``train`` that a seed did not draw.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders, two classes; the second becomes rare.
        common: labeled images of the first class.
        rare: labeled images of the second.
        seeds: how many seeds, or which.
        steps: student steps of GMCL, of 32 real images.
        channels: of the images, 1 or 3.
        crop: centre to keep.
        size: to resize to.
        upright: the images have an up and a down.
        centered: the centre makes the label.
        report: JSON lines file to append each run to.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    data = BenchmarkData(DataOptions(data_dir, channels, crop, size, upright, centered))
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        labeled, (images, labels) = data.draw(common, seed)
        for way, (build, length) in WAYS.items():
            run = StudentRun(build, data.options, _thinned(labeled, rare), data.choosing, seed, steps * length)
            run.run()
            probabilities = run.probabilities("final", images)
            found = classification_measures(probabilities, labels)
            found["recall_at_90"] = _recall(probabilities[:, RARE], labels, specificity=0.9)
            row = {name: round(found[name], 4) for name in MEASURES}
            results[way].append(row)
            line = json.dumps({"way": way, "seed": seed, "common": common, "rare": rare, **row})
            print(line, flush=True)
            if report:
                with Path(report).open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    print(f"{'':<54}" + "".join(f"{title:>15}" for title in MEASURES.values()))
    for way, rows in results.items():
        means = [statistics.mean(row[name] for row in rows) for name in MEASURES]
        print(f"{way:<54}" + "".join(f"{mean:>15.3f}" for mean in means))


def _recall(scores: Tensor, labels: Tensor, specificity: float) -> float:
    """Share of the rare class above the threshold that leaves this share of the others below."""
    threshold = torch.quantile(scores[labels != RARE], specificity)
    return float((scores[labels == RARE] > threshold).double().mean())


def _thinned(labeled: Images, rare: int) -> Images:
    """Leave so many images of the rare class."""
    images, labels = labeled
    kept = torch.cat([torch.nonzero(labels != RARE)[:, 0], torch.nonzero(labels == RARE)[:rare, 0]])
    return images[kept], labels[kept]


if __name__ == "__main__":
    fire.Fire(imbalance)
