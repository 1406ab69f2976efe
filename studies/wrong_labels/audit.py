# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How well an audit ranks false labels and counts them: ``python -m studies.wrong_labels.audit --data_dir DIR``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta
from monai.transforms.intensity.dictionary import RandAdjustContrastd
from monai.transforms.spatial.dictionary import RandFlipd
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.students import small_resnet
from monai_gmcl.cross_fitting import Fitting, cross_fit
from monai_gmcl.generalized_cross_entropy import GeneralizedCrossEntropy
from monai_gmcl.metrics.label_noise import false_label_share, normalized_margin
from studies.grid import FieldsJob, checked_names, commit, run_missing, seeds_of, without_rows
from studies.policies.tasks import task_data
from studies.wrong_labels.noise import NOISES, draw
from studies.wrong_labels.run import DATA

__all__ = ["VARIANTS", "Job", "audit", "measures"]

FOLDS = 5
LOOKED_AT = 50
"""Labels at the top of the list among which precision is counted."""


@dataclass(frozen=True)
class Variant:
    """A way to train the students of an audit.

    Attributes:
        augmentation: of the training's images, by how the data set is read.
        loss: of the students.
        trusted: how many trusted images all of them learn from.
    """

    augmentation: Callable[[DataOptions], list[Any]]
    loss: Callable[[], nn.Module] = GeneralizedCrossEntropy
    trusted: int = 0


def _bundle(_: DataOptions) -> list[Any]:
    return [RandFlipd("image", 0.5, 1), RandAdjustContrastd("image", 0.5, (0.9, 1.1))]


def _standard(options: DataOptions) -> list[Any]:
    change = standard_augmentation(options)
    return [lambda item: {**item, "image": change(item["image"])}]


VARIANTS = {
    "default": Variant(_bundle),
    "cross_entropy": Variant(_bundle, nn.CrossEntropyLoss),
    "standard": Variant(_standard),
    "standard_cross_entropy": Variant(_standard, nn.CrossEntropyLoss),
    "trusted": Variant(_bundle, trusted=100),
    "standard_trusted": Variant(_standard, trusted=100),
}
"""``default`` is what the command does by default."""


@dataclass(frozen=True)
class Job(FieldsJob):
    """One audit; attributes as those of :class:`studies.wrong_labels.run.Job`."""

    data: str
    n: int
    noise: str
    share: float
    seed: int
    variant: str
    max_epochs: int


NEEDED = tuple(Job.__dataclass_fields__)


def audit(
    data_dir: str,
    data: str | Sequence[str] = DATA,
    variants: str | Sequence[str] = "default",
    noises: str | Sequence[str] = "uniform",
    share: float = 0.3,
    n: int = 400,
    seeds: int | Sequence[int] = 5,
    max_epochs: int = 20,
    out: str = "studies/wrong_labels/audit.jsonl",
) -> None:
    """Audit images some of whose labels are made false, and append to ``out`` how well that went.

    Args:
        data_dir: folder with ``pcam`` and ``pneumonia``; images of ``train`` alone are used.
        data: names, separated by commas.
        variants: of :data:`VARIANTS`, separated by commas.
        noises: kinds of false labels, separated by commas.
        share: of false labels.
        n: images to audit.
        seeds: how many, from 0 on, or which ones, as a list.
        max_epochs: of the longest training.
        out: file of rows, a JSON object a line.

    Raises:
        ConfigurationError: an unknown name, or another command that writes to ``out``.
        DataError: a damaged file of rows, or no images in ``data_dir``.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    chosen = seeds_of(seeds)
    names = (checked_names(*given) for given in (("data", data, DATA), ("noises", noises, NOISES)))
    jobs = [
        Job(source, n, noise, float(share), seed, variant, max_epochs)
        for seed, (source, noise), variant in product(
            chosen, product(*names), checked_names("variants", variants, VARIANTS)
        )
    ]
    with without_rows(jobs, Path(out), NEEDED) as missing:
        for job in missing:
            task_data(job.data, str(data_dir)).read()
        run_missing(missing, partial(_run, str(data_dir)), 1, Path(out), _told)


def measures(probabilities: Tensor, given: Tensor, right: Tensor) -> dict[str, float]:
    """Return what an audit is worth: AUC and precision of the ranking, AUC of the students, estimated share.

    Args:
        probabilities: of the classes, ``(N, 2)``.
        given: labels ``(N,)``.
        right: the true ones.
    """
    margin = normalized_margin(probabilities, given)
    false = given != right
    share = false_label_share(probabilities, given)
    return {
        "ranking": round(float(roc_auc_score(false, -margin)), 4),
        "precision": round(float(false[margin.argsort(stable=True)[:LOOKED_AT]].double().mean()), 4),
        "students": round(float(roc_auc_score(right, probabilities[:, 1])), 4),
        "share": round(share.share, 4),
        "low": round(share.low, 4),
        "high": round(share.high, 4),
    }


def _told(job: Job) -> str:
    return f"{job.data} {job.noise} {job.share} {job.seed} {job.variant}"


@dataclass
class _Judged:
    found: list[Tensor] = field(default_factory=list)

    def __call__(self, item: Any, probabilities: Tensor, image: Tensor) -> None:
        self.found.append(probabilities)


def _run(data_dir: str, job: Job) -> dict[str, Any]:
    began = time.perf_counter()
    data, variant = task_data(job.data, data_dir), VARIANTS[job.variant]
    labeled, _ = draw(data, job.n, max(2, variant.trusted), job.noise, job.share, job.seed)
    images, labels = labeled.every
    items: list[Any] = [{"image": str(i), "label": int(label)} for i, label in enumerate(labels)]
    torch.manual_seed(job.seed)
    fitting = Fitting(
        network=small_resnet(data.options),
        load=lambda item: {**item, "image": images[int(item["image"])]},
        random_transforms=variant.augmentation(data.options),
        max_epochs=job.max_epochs,
        seed=job.seed,
        loss_function=variant.loss(),
    )
    judged = _Judged()
    epochs = cross_fit(items[: job.n], FOLDS, fitting, judged, always=items[job.n :] if variant.trusted else ())
    return {
        "settings": job.settings,
        "commit": commit("studies/grid.py", "studies/wrong_labels/*.py"),
        "epochs": epochs,
        "auc": measures(torch.stack(judged.found), labeled.doubtful[1], labeled.right),
        "seconds": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    fire.Fire(audit)
