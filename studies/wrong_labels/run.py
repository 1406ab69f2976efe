# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the study: ``python -m studies.wrong_labels.run --data_dir ../shared/data``; goes on where its rows end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta

from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import mean_auc
from studies.grid import FieldsJob, checked_names, commit, run_missing, seeds_of, without_rows
from studies.policies.jobs import PARTS
from studies.policies.tasks import task_data
from studies.wrong_labels.arms import ARMS, OURS_PASSES
from studies.wrong_labels.noise import MOST_TRUSTED, NOISES, draw

__all__ = ["DATA", "NEEDED", "Job", "run"]

DATA = ("pcam", "pneumonia")
EQUAL = ("passes", "steps")


@dataclass(frozen=True)
class Job(FieldsJob):
    """One run.

    Attributes:
        data: in :data:`DATA`.
        n: images with doubtful labels.
        trusted: others with true labels.
        noise: in :data:`studies.wrong_labels.noise.NOISES`.
        share: of false labels.
        seed: of images, labels, and everything random.
        arm: in :data:`studies.wrong_labels.arms.ARMS`.
        part: ``held_out`` or ``test``.
        steps: of ours.
        equal: what all arms have as many of: student ``passes`` over images, or ``steps``.
    """

    data: str
    n: int
    trusted: int
    noise: str
    share: float
    seed: int
    arm: str
    part: str
    steps: int
    equal: str

    @property
    def student_steps(self) -> int:
        """Steps of this run."""
        return round(self.steps * OURS_PASSES / ARMS[self.arm].passes) if self.equal == "passes" else self.steps


NEEDED = tuple(Job.__dataclass_fields__)
"""What the settings of a row hold."""


def run(
    data_dir: str,
    data: str | Sequence[str] = DATA,
    arms: str | Sequence[str] = tuple(ARMS),
    noises: str | Sequence[str] = "uniform",
    shares: float | Sequence[float] = 0.3,
    trusted: int | Sequence[int] = 100,
    n: int = 400,
    seeds: int | Sequence[int] = 5,
    steps: int = 200,
    equal: str | Sequence[str] = "passes",
    part: str = "held_out",
    workers: int = 1,
    out: str = "studies/wrong_labels/rows.jsonl",
) -> None:
    """Run what is not among the rows yet, seed by seed, and append a row for each run.

    Args:
        data_dir: folder with ``pcam`` and ``pneumonia``.
        data: names, separated by commas.
        arms: names, separated by commas.
        noises: kinds of false labels, separated by commas.
        shares: of false labels, each from 0 to below .5. Without any, there is one kind, ``uniform``.
        trusted: numbers of trusted images.
        n: images with doubtful labels.
        seeds: how many, from 0 on, or which ones, as a list: ``[100,101]``.
        steps: student steps of ours.
        equal: ``passes``: other arms get as many steps as make as many student passes over images; ``steps``: as many
            steps; or both, separated by a comma.
        part: where to measure: ``held_out``, for development, or ``test``, once, at the end.
        workers: processes, one thread each.
        out: file of rows, a JSON object a line.

    Raises:
        ConfigurationError: an unknown name, a number outside its range, or another command that writes to ``out``.
        DataError: a damaged file of rows, or no images in ``data_dir``.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    given = [checked_names("data", data, DATA), _list(trusted), checked_names("noises", noises, NOISES)]
    chosen = seeds_of(seeds)
    names = checked_names("arms", arms, ARMS)
    (measured,) = checked_names("part", part, PARTS)
    ways = checked_names("equal", equal, EQUAL)
    fractions = [float(share) for share in _list(shares)]
    _check(fractions, given[1], chosen, n, steps, workers)
    jobs = [
        Job(source, n, few, noise, share, seed, arm, measured, steps, way)
        for seed, (source, few, noise), share, arm, way in product(chosen, product(*given), fractions, names, ways)
        # Without false labels there are no kinds of them; ours is the same either way.
        if (share or noise == "uniform") and (way == ways[0] or ARMS[arm].passes != OURS_PASSES)
    ]
    with without_rows(jobs, Path(out), NEEDED) as missing:
        for job in missing:
            # Read before the processes split, so that they share it.
            task_data(job.data, str(data_dir)).read(*(["test"] if measured == "test" else []))
        run_missing(missing, partial(_run, str(data_dir)), workers, Path(out), _told)


def _list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _check(shares: list[float], trusted: list[int], seeds: list[int], n: int, steps: int, workers: int) -> None:
    if not (shares and all(0 <= share < 0.5 for share in shares)):
        raise ConfigurationError(f"shares: expected numbers from 0 to below .5, got {shares}.")
    if not (trusted and all(2 <= few <= MOST_TRUSTED for few in trusted)):
        raise ConfigurationError(f"trusted: expected numbers from 2 to {MOST_TRUSTED}, got {trusted}.")
    if not seeds or min(seeds) < 0 or min(n - 1, steps, workers) < 1:
        raise ConfigurationError(
            f"Expected n from 2, steps and workers from 1 and seeds from 0, got {n}, {steps}, {workers} and {seeds}."
        )


def _told(job: Job) -> str:
    return f"{job.data} {job.noise} {job.share} {job.trusted} {job.seed} {job.arm} ({job.equal})"


def _run(data_dir: str, job: Job) -> dict[str, Any]:
    began = time.perf_counter()
    data, arm = task_data(job.data, data_dir), ARMS[job.arm]
    labeled, held_out = draw(data, job.n, job.trusted, job.noise, job.share, job.seed)
    images, labels = held_out if job.part == "held_out" else data.test
    student = StudentRun(
        lambda setup: arm.build(setup, labeled, job.share),
        data.options,
        labeled.every,
        data.choosing,
        job.seed,
        job.student_steps,
        learning_rate=data.task.learning_rate,
    )
    student.run()
    auc = {which: round(mean_auc(student.probabilities(which, images), labels), 5) for which in student.weights}
    return {
        "settings": job.settings,
        "student_steps": job.student_steps,
        "false": int((labeled.doubtful[1] != labeled.right).sum()),
        "commit": commit("studies/grid.py", "studies/wrong_labels/*.py"),
        "auc": auc,
        "valid_auc": {which: round(value, 5) for which, value in student.valid_scores.items()},
        "flops": student.cost["flops"],
        "seconds": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    fire.Fire(run)
