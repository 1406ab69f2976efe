# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lessons that can be wrong: foreign images among the unlabeled ones, and given labels that are false.

Run: ``python -m studies.wrong_labels.wrong_lessons foreign --data_dir ../shared/data/pcam --crop 64 --size 32
--centered`` (with ``--foreign_dir`` for images of another kind instead of noise), or ``flipped`` instead of
``foreign``. AUC is measured on 2,000 images of ``train`` that the seed did not draw; ``test`` is not read.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta
from torch import Tensor
from torch.utils.data import DataLoader

from monai_gmcl.benchmark.arms import policy_teacher
from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.data_sets import AugmentedImages, BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.curriculum import Curriculum
from monai_gmcl.data import image_transforms
from monai_gmcl.data.listing import is_image
from monai_gmcl.engines import GMCLEvents, GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.hypergradients import HeadHypergradient
from monai_gmcl.metrics.classification import mean_auc
from monai_gmcl.weighting import ConfidenceWeighting, LessonWeighting, LookAheadWeighting, UniformWeighting
from studies.json_lines import append_row
from studies.proof.unlabeled_arms import unlabeled_loader
from studies.wrong_labels.weights_by_mark import WeightsByMark

__all__ = ["flipped", "foreign"]

SHARE = 0.3
"""Of the unlabeled images that are foreign, or of the given labels that are false."""
REAL_WEIGHT = 0.1
"""Of images whose labels may be false."""
WEIGHTINGS: dict[str, Callable[[], LessonWeighting]] = {
    "all equal": UniformWeighting,
    "by confidence": ConfidenceWeighting,
    "by the look-ahead": LookAheadWeighting,
    "by the look-ahead of the head": lambda: LookAheadWeighting(HeadHypergradient()),
}


Build = Callable[[Setup, LessonWeighting, WeightsByMark], GMCLTrainer]


def _with_pool(setup: Setup, weighting: LessonWeighting, watched: WeightsByMark) -> GMCLTrainer:
    """Lessons from unlabeled images, too; those come with their marks for labels."""

    def prepare(batch: Any, device: torch.device, *_: Any, **__: Any) -> tuple[Tensor, Tensor | None]:
        images, labels, *unlabeled = (part.to(device) for part in batch)
        if not unlabeled:
            return images, labels
        watched.know(images, labels)
        return images, None

    loader = unlabeled_loader(setup)
    arguments = setup.arguments(standard_augmentation(setup.options))
    return _trainer(setup, weighting, watched, arguments, prepare_batch=prepare, unlabeled_data_loader=loader)


def _with_trusted(trusted: Images, marks: Tensor) -> Build:
    """Labeled images some of whose labels are false, and trusted ones for the look-ahead."""

    def build(setup: Setup, weighting: LessonWeighting, watched: WeightsByMark) -> GMCLTrainer:
        data = AugmentedImages(trusted[0], standard_augmentation(setup.options), setup.seed + 1, trusted[1])

        def prepare(batch: Any, device: torch.device, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            images, labels, *marks = (part.to(device) for part in batch)
            if marks:
                watched.know(images, marks[0])
            return images, labels

        return _trainer(
            setup,
            weighting,
            watched,
            setup.arguments(standard_augmentation(setup.options), marks),
            prepare_batch=prepare,
            meta_data_loader=DataLoader(data, batch_size=min(BATCH, len(data)), shuffle=True, drop_last=True),
            # Only lessons are weighed: the real gradient brings false labels in as they are.
            curriculum=Curriculum(real_weight=REAL_WEIGHT),
        )

    return build


def _trainer(
    setup: Setup, weighting: LessonWeighting, watched: WeightsByMark, arguments: dict[str, Any], **own: Any
) -> GMCLTrainer:
    teacher = policy_teacher(setup.options).to(setup.device)
    trainer = GMCLTrainer(
        **arguments,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        weighting=weighting,
        seed=setup.seed,
        **own,
    )
    trainer.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda engine: watched.observe(engine.state.lesson))
    return trainer


def foreign(
    data_dir: str,
    foreign_dir: str | None = None,
    n: int = 500,
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
    weightings: Sequence[str] = tuple(WEIGHTINGS),
    device: str = "cpu",
    report: str | None = None,
    **options: Any,
) -> None:
    """Print AUC with own unlabeled images and with 30 % of them replaced, and how the weights tell them apart.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders.
        foreign_dir: folder of other images, read as the own ones are. Default: noise.
        n: labeled images in all.
        seeds: how many seeds, or which.
        steps: student steps, of 32 real images, 32 changed ones and 32 changed unlabeled ones.
        weightings: which of :data:`WEIGHTINGS` to try.
        device: where to train.
        report: JSON lines file to append each run to.
        options: of :class:`monai_gmcl.benchmark.data_sets.DataOptions`, such as ``--crop``.

    Raises:
        ConfigurationError: a weighting of another name.
        DataError: no images in ``foreign_dir``.
    """
    _check(weightings, "foreign")
    data = _data(data_dir, options)
    others = None if foreign_dir is None else _read_all(foreign_dir, data.options)
    rows = []
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        labeled, held_out = data.draw(n // 2, seed)
        own = data.unlabeled(n // 2, seed, measured=True)[0]
        for replaced in (False, True):
            pool = _with_foreign(own, others, seed) if replaced else (own, torch.ones(len(own), dtype=torch.long))
            for name in weightings:
                way = f"30 % foreign, {name}" if replaced else f"own images, {name}"
                row = _run(data, _with_pool, labeled, held_out, seed, steps, device, WEIGHTINGS[name], pool)
                rows.append({"way": way, "seed": seed, "n": n, **row})
                append_row(rows[-1], report)
    _print_means(rows)


def flipped(
    data_dir: str,
    n: int = 500,
    trusted: int = 100,
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
    weightings: Sequence[str] = ("all equal", "by the look-ahead"),
    device: str = "cpu",
    report: str | None = None,
    **options: Any,
) -> None:
    """Print AUC with right labels and with 30 % of them flipped, where a few trusted images have right ones.

    The student trains on the images that may be wrong, mostly by lessons, and the trusted ones are for the look-ahead.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders, two classes.
        n: labeled images in all, of labels that may be false.
        trusted: other images whose labels are right.
        seeds: how many seeds, or which.
        steps: student steps.
        weightings: which of :data:`WEIGHTINGS` to try.
        device: where to train.
        report: JSON lines file to append each run to.
        options: of :class:`monai_gmcl.benchmark.data_sets.DataOptions`, such as ``--crop``.

    Raises:
        ConfigurationError: a weighting of another name.
    """
    _check(weightings, "flipped")
    data = _data(data_dir, options)
    rows = []
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        (images, labels), held_out = data.draw((n + trusted) // 2, seed)
        order = torch.cat([torch.nonzero(labels == label)[:, 0] for label in (0, 1)]).view(2, -1)
        few, many = order[:, : trusted // 2].flatten(), order[:, trusted // 2 :].flatten()
        false = torch.rand(len(many), generator=torch.Generator().manual_seed(seed)) < SHARE
        for wrong in (False, True):
            right = ~(false & wrong)
            given = torch.where(right, labels[many], 1 - labels[many])
            for name in weightings:
                way = f"{'30 % flipped' if wrong else 'right labels'}, {name}"
                build = _with_trusted((images[few], labels[few]), right.long())
                row = _run(data, build, (images[many], given), held_out, seed, steps, device, WEIGHTINGS[name])
                rows.append({"way": way, "seed": seed, "n": n, **row})
                append_row(rows[-1], report)
    _print_means(rows)


def _check(weightings: Sequence[str], command: str) -> None:
    if unknown := set(weightings) - set(WEIGHTINGS):
        raise ConfigurationError(
            f"{command}: weightings must be among {', '.join(WEIGHTINGS)}, got {', '.join(sorted(unknown))}."
        )


def _run(
    data: BenchmarkData,
    build: Build,
    labeled: Images,
    held_out: Images,
    seed: int,
    steps: int,
    device: str,
    weighting: Callable[[], LessonWeighting],
    pool: Images | None = None,
) -> dict[str, float]:
    watched = WeightsByMark()
    run = StudentRun(
        lambda setup: build(setup, weighting(), watched),
        data.options,
        labeled,
        data.choosing,
        seed,
        steps,
        unlabeled=pool,
        device=device,
    )
    run.run()
    found = {which: mean_auc(run.probabilities(which, held_out[0]), held_out[1]) for which in run.weights}
    return {name: round(value, 4) for name, value in (*found.items(), ("told_apart", watched.told_apart()))}


def _with_foreign(own: Tensor, others: Tensor | None, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(len(own), generator=generator)[: round(SHARE * len(own))]
    pool, marks = own.clone(), torch.ones(len(own), dtype=torch.long)
    if others is None:
        pool[places] = torch.rand(len(places), *own.shape[1:], generator=generator)
    else:
        pool[places] = others[torch.randint(len(others), (len(places),), generator=generator)]
    marks[places] = 0
    return pool, marks


def _read_all(folder: str, options: DataOptions) -> Tensor:
    """All images below a folder, ``(N, C, ...)``, read as the own ones are."""
    read = image_transforms(options.spatial_dims, options.channels, options.crop, options.size)
    files = sorted(file for file in Path(folder).rglob("*") if is_image(file))
    if not files:
        raise DataError(f"Expected a folder of images, found none in {folder!r}.")
    return torch.stack([torch.as_tensor(read({"image": file})["image"]) for file in files])


def _data(data_dir: str, options: dict[str, Any]) -> BenchmarkData:
    torch.set_num_threads(1)
    set_track_meta(False)
    return BenchmarkData(DataOptions(str(data_dir), **options))


def _print_means(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("chosen", "final", "told_apart")
    print(f"{'':<40}" + "".join(f"{column:>12}" for column in columns))
    for way in dict.fromkeys(row["way"] for row in rows):
        means = [statistics.mean(row[column] for row in rows if row["way"] == way) for column in columns]
        print(f"{way:<40}" + "".join(f"{mean:>12.3f}" for mean in means))


if __name__ == "__main__":
    fire.Fire({"foreign": foreign, "flipped": flipped})
