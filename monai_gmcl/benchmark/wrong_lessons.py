# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Lessons that can be wrong: foreign images among the unlabeled ones, and given labels that are false.

Run: ``python -m monai_gmcl.benchmark.wrong_lessons foreign --data_dir ../shared/data/pcam --crop 64 --size 32
--centered`` (with ``--foreign_dir`` for images of another kind instead of noise), or ``flipped`` instead of
``foreign``. AUC is measured on 2,000 images of ``train`` that the seed did not draw; ``test`` is not read.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.augmented_images import AugmentedImages
from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.default_teacher import policy_teacher, policy_teacher_optimizer
from monai_gmcl.benchmark.student_run import BATCH, Setup, StudentRun
from monai_gmcl.data import image_transforms
from monai_gmcl.data.class_folders import is_image
from monai_gmcl.engines import GMCLEvents, GMCLTrainer
from monai_gmcl.exceptions import DataError
from monai_gmcl.metrics.classification import mean_auc
from monai_gmcl.weighting import ConfidenceWeighting, LessonWeighting, LookAheadWeighting, UniformWeighting

__all__ = ["flipped", "foreign"]

SHARE = 0.3
"""Of the unlabeled images that are foreign, or of the given labels that are false."""
WEIGHTINGS: dict[str, Callable[[], LessonWeighting]] = {
    "all equal": UniformWeighting,
    "by confidence": ConfidenceWeighting,
    "by the look-ahead": LookAheadWeighting,
}


class _Lessons:
    """A trainer whose lessons are made from marked images, too; keeps the mark of each, and how it was weighed.

    Args:
        setup: of the run; its unlabeled images come with a mark each, 1 where the image or its label is right.
        weighting: of the lessons.
        labels: given labels of the unlabeled images; the trainer proposes its own by default.
    """

    def __init__(self, setup: Setup, weighting: LessonWeighting, labels: Tensor | None = None) -> None:
        assert setup.unlabeled is not None
        images, marks = setup.unlabeled
        self._known = torch.zeros(0, dtype=torch.long), torch.zeros(0)
        self.seen: list[tuple[Tensor, Tensor]] = []
        augmentation = standard_augmentation(setup.options)
        given = torch.zeros_like(marks) if labels is None else labels
        data = AugmentedImages(images, standard_augmentation(setup.options), setup.seed + 1, given, marks)
        loader = DataLoader(data, batch_size=BATCH, sampler=RandomSampler(data, num_samples=setup.steps * BATCH))
        teacher = policy_teacher(setup.options)
        proposal: dict[str, Any] = {} if labels is None else {"label_proposal": self._given}
        self.trainer = GMCLTrainer(
            **setup.arguments(augmentation),
            **proposal,
            teacher=teacher,
            teacher_optimizer=policy_teacher_optimizer(teacher),
            unlabeled_data_loader=loader,
            weighting=weighting,
            prepare_batch=self._prepare,
            seed=setup.seed,
        )
        self.trainer.add_event_handler(GMCLEvents.LESSON_COMPLETED, self._observe)

    def _prepare(self, batch: Any, *_: Any, **__: Any) -> tuple[Tensor, Tensor | None]:
        images, labels, *marks = batch
        if not marks:
            return images, labels
        self._known = labels, marks[0]
        return images, None

    def _given(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._known[0], torch.ones(len(images))

    def _observe(self) -> None:
        lesson = self.trainer.state.lesson
        self.seen.append((self._known[1], lesson.weights[lesson.labeled :].clone()))

    def told_apart(self) -> float:
        """AUC of the weight as a score of what is right, over all lessons after the first quarter."""
        marks, weights = (torch.cat(part) for part in zip(*self.seen[len(self.seen) // 4 :], strict=True))
        if marks.min() == marks.max():
            return float("nan")
        return mean_auc(torch.stack([-weights, weights], 1), marks)


def foreign(
    data_dir: str,
    foreign_dir: str | None = None,
    n: int = 500,
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
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
        report: JSON lines file to append each run to.
        options: of :class:`monai_gmcl.benchmark.data_sets.DataOptions`, such as ``--crop``.
    """
    data = _data(data_dir, options)
    others = None if foreign_dir is None else _read_all(foreign_dir, data.options)
    rows = []
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        labeled, held_out = data.draw(n // 2, seed)
        own = data.unlabeled(n // 2, seed, measured=True)[0]
        for replaced in (False, True):
            pool = _with_foreign(own, others, seed) if replaced else (own, torch.ones(len(own), dtype=torch.long))
            for name, weighting in WEIGHTINGS.items():
                way = f"30 % foreign, {name}" if replaced else f"own images, {name}"
                row = _run(data, labeled, pool, held_out, seed, steps, weighting)
                rows.append({"way": way, "seed": seed, "n": n, **row})
                _tell(rows[-1], report)
    _print_means(rows)


def flipped(
    data_dir: str,
    n: int = 500,
    trusted: int = 100,
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
    report: str | None = None,
    **options: Any,
) -> None:
    """Print AUC with right labels and with 30 % of them flipped, where some trusted images have right ones.

    The trusted images are the real ones. The others are sources of lessons with the labels that they came with.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders, two classes.
        n: labeled images in all that are not trusted.
        trusted: images whose labels are right.
        seeds: how many seeds, or which.
        steps: student steps.
        report: JSON lines file to append each run to.
        options: of :class:`monai_gmcl.benchmark.data_sets.DataOptions`, such as ``--crop``.
    """
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
            for name in ("all equal", "by the look-ahead"):
                way = f"{'30 % flipped' if wrong else 'right labels'}, {name}"
                pool = images[many], right.long()
                row = _run(data, (images[few], labels[few]), pool, held_out, seed, steps, WEIGHTINGS[name], given)
                rows.append({"way": way, "seed": seed, "n": n, **row})
                _tell(rows[-1], report)
    _print_means(rows)


def _run(
    data: BenchmarkData,
    labeled: Images,
    pool: Images,
    held_out: Images,
    seed: int,
    steps: int,
    weighting: Callable[[], LessonWeighting],
    labels: Tensor | None = None,
) -> dict[str, float]:
    kept: list[_Lessons] = []

    def build(setup: Setup) -> GMCLTrainer:
        kept.append(_Lessons(setup, weighting(), labels))
        return kept[0].trainer

    run = StudentRun(build, data.options, labeled, data.choosing, seed, steps, unlabeled=pool)
    run.run()
    found = {which: mean_auc(run.probabilities(which, held_out[0]), held_out[1]) for which in ("chosen", "final")}
    return {name: round(value, 4) for name, value in (*found.items(), ("told_apart", kept[0].told_apart()))}


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


def _tell(row: dict[str, Any], report: str | None) -> None:
    print(json.dumps(row), flush=True)
    if report:
        with Path(report).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _print_means(rows: Sequence[dict[str, Any]]) -> None:
    columns = ("chosen", "final", "told_apart")
    print(f"{'':<40}" + "".join(f"{column:>12}" for column in columns))
    for way in dict.fromkeys(row["way"] for row in rows):
        means = [statistics.mean(row[column] for row in rows if row["way"] == way) for column in columns]
        print(f"{way:<40}" + "".join(f"{mean:>12.3f}" for mean in means))


if __name__ == "__main__":
    fire.Fire({"foreign": foreign, "flipped": flipped})
