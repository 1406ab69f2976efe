# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The grid of a comparison: which runs it has, how one is run and kept."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from monai.data.meta_obj import set_track_meta
from torch import nn

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import ARMS, STRENGTHS, WITHIN_BUDGET
from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.label_kinds import kind_of
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.benchmark.synthetic_images import lesson_measures, write_picture
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError, DataError

__all__ = ["Job", "Measure", "equal_compute_ratio", "jobs_of", "keep_row", "run_jobs"]

PROTOCOL = 3
"""Version; increased if arms or measures change, so that earlier runs are not used together with new runs."""
PICTURED_SEED = 0

Measure = Callable[[StudentRun, Images, int], dict[str, Any]]
"""An additional measurement of a study: a function of a run, the images of the first part, and the run's seed."""


@dataclass(frozen=True)
class Job:
    """One run: a student trained by an arm, on the labeled images of a seed.

    Attributes:
        options: how the data set is read.
        n: number of labeled images.
        seed: seed of the labeled images and of all random numbers.
        arm: name of the arm in :data:`monai_gmcl.benchmark.arms.ARMS`, or ``module:NAME``.
        steps: number of student steps.
        splits: images for the evaluation: ``held_out`` (images of ``train`` that were not drawn) or folders such as
            ``test``.
        strength: strength of a tuned arm's augmentation; None for other arms.
        within_budget: whether the strengths of a tuned arm share the steps of one run.
        tolerance: tolerance of the arm for the choice of its strength. It is not part of the settings, because it does
            not change a run.
        measure: key of an additional measurement in the row, if any. It is not part of the settings, because it does
            not change other numbers.
    """

    options: DataOptions
    n: int
    seed: int
    arm: str
    steps: int
    splits: tuple[str, ...]
    strength: float | None = None
    within_budget: bool = False
    tolerance: float = 0.0
    measure: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on."""
        own = {"arm": self.arm, "n": self.n, "seed": self.seed, "steps": self.steps, "strength": self.strength}
        return {"protocol": PROTOCOL, "data": self.options.as_dict(), **own, "splits": list(self.splits)}

    @property
    def digest(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    @property
    def row_arm(self) -> str:
        """The arm's name in rows."""
        return self.arm + WITHIN_BUDGET * self.within_budget

    def title(self, arm: Arm) -> str:
        """Return what a report calls the arm."""
        return arm.title + ", tuned within the budget" * self.within_budget

    def file(self, folder: Path) -> Path:
        """Return where the run is kept; the strengths of a tuned arm in a folder of their own."""
        arm = self.row_arm.replace(":", "-")
        name = f"{self.options.name}-n{self.n}-{arm}-s{self.seed}-{self.digest[:8]}.json"
        return folder / "runs" / ("strengths" if self.strength is not None else "") / name

    def is_done(self, folder: Path) -> bool:
        """Return whether the run is kept, with what it is to measure."""
        file = self.file(folder)
        if not file.exists() or self.measure is None:
            return file.exists()
        return json.loads(file.read_text(encoding="utf-8")).get(self.measure) is not None


def equal_compute_ratio(options: DataOptions, make_network: Callable[[DataOptions], nn.Module] | None = None) -> float:
    """Return the FLOPs of a GMCL iteration in units of a supervised one on as many real images, counted.

    Convolutions and matrix products of the forward and backward passes of student, hypergradient and teacher; the
    student is by default that of the kind of labels.
    """
    options, labeled = kind_of(options).example(options)
    counted = {}
    for arm in ("standard", "gmcl"):
        run = StudentRun(ARMS[arm].build, options, labeled, labeled, 0, 4, make_network=make_network)
        run.run()
        counted[arm] = run.flops_per_step
    return counted["gmcl"] / counted["standard"]


def jobs_of(
    options: DataOptions,
    n: Sequence[int],
    arms: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    splits: Sequence[str],
    ratio: float,
    strengths: Mapping[tuple[str, int], float] | None = None,
    known: Mapping[str, Arm] = ARMS,
    measures: Mapping[str, str] | None = None,
) -> list[Job]:
    """Return the runs of a grid, seed by seed, so that a grid that is stopped has whole seeds.

    Numbers of labeled images ``n`` are multiples of the number of classes. Steps are those of GMCL; arms of equal
    compute get ``ratio`` times as many. Strengths of tuned arms, by arm and n, are run where they are chosen already,
    else all. Measures are, by arm, the key of one more to take.
    """
    names = [*known, *(name + WITHIN_BUDGET for name, arm in known.items() if arm.tuned)]
    for name in arms:
        if name not in names:
            raise ConfigurationError(
                f"compare: arms must be among {', '.join(names)}, or module:NAME of your own method; got {name!r}."
            )
    classes = options.sharing
    if any(number < classes or number % classes for number in n):
        evenly = f" that are multiples of the number of classes, {classes}" if classes > 1 else ""
        raise ConfigurationError(f"compare: n must be numbers of labeled images{evenly}, got {list(n)}.")
    jobs = []
    for seed in seeds:
        for number in n:
            for name in arms:
                within = name.endswith(WITHIN_BUDGET)
                arm = known[name.removesuffix(WITHIN_BUDGET)]
                own = round(steps * (ratio if arm.equal_compute else arm.share)) // (len(STRENGTHS) if within else 1)
                base = (options, number, seed, name.removesuffix(WITHIN_BUDGET), own, tuple(splits))
                chosen = (strengths or {}).get((name, number))
                measure = (measures or {}).get(name)
                for strength in (None,) if not arm.tuned else STRENGTHS if chosen is None else (chosen,):
                    jobs.append(Job(*base, strength, within, arm.tolerance, measure))
    return jobs


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    workers: int,
    device: str = "cpu",
    known: Mapping[str, Arm] = ARMS,
    measures: Mapping[str, Measure] | None = None,
) -> Iterator[Job]:
    """Run what is not on disk yet, in processes of one thread each, and yield each run when it is kept.

    The jobs are of one data set. The device is no part of their settings, so that a grid can go on elsewhere.
    """
    missing = [job for job in jobs if not job.is_done(folder)]
    for job in missing:
        # Read before the processes split, so that they share it.
        _data(job.options).read(name for name in job.splits if name != "held_out")
    # Arms reach the processes by the fork: they cannot be pickled. A fresh process for each run: its peak memory is
    # the run's.
    given = {"arms": known, "measures": measures or {}}
    with multiprocessing.get_context("fork").Pool(workers, _TOLD.update, (given,), maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_run, [(job, folder, device) for job in missing])


@lru_cache(maxsize=4)
def _data(options: DataOptions) -> BenchmarkData:
    return kind_of(options).data(options)


_TOLD: dict[str, Any] = {}
"""What a worker knows: arms by their names, and measures by their keys."""


def _run(task: tuple[Job, Path, str]) -> Job:
    job, folder, device = task
    torch.set_num_threads(1)
    set_track_meta(False)
    data = _data(job.options)
    per_class = job.n // job.options.sharing
    labeled, held_out = data.draw(per_class, job.seed)
    if "held_out" in job.splits and len(held_out[0]) == 0:
        raise DataError(
            f"{job.options.name}: n = {job.n} takes all images of train, and none is left to measure on. Use --splits "
            "test."
        )
    arm, own = _TOLD["arms"][job.arm], (job.seed, job.steps, job.strength or 1.0)
    unlabeled = data.unlabeled(per_class, job.seed, "held_out" in job.splits) if arm.unlabeled else None
    run = StudentRun(arm.build, job.options, labeled, data.choosing, *own, unlabeled, device)
    run.run()
    parts = {name: held_out if name == "held_out" else data.split(name) for name in job.splits}
    picture = f"pictures/{job.file(folder).stem}.png" if job.seed == PICTURED_SEED else None
    if picture:
        write_picture(folder / picture, run.seen)
    row = {
        **{"data": job.options.name, "n": job.n, "seed": job.seed, "arm": job.row_arm, "title": job.title(arm)},
        **{"settings": job.settings, "hash": job.digest},
        "splits": list(job.splits),
        "commit": _commit(),
        "machine": _machine(run.device),
        "measures": {
            name: {which: run.measures(which, images) for which in run.weights} for name, images in parts.items()
        },
        f"valid_{run.kind.metric}": run.valid_scores,
        "synthetic": _synthetic(arm, run, labeled, held_out, job, folder),
        "cost": {**run.cost, "tuning": None},
        "picture": picture,
    }
    if job.measure:
        row[job.measure] = _TOLD["measures"][job.measure](run, parts[job.splits[0]], job.seed)
    keep_row(job.file(folder), row)
    return job


def _synthetic(
    arm: Arm, run: StudentRun, labeled: Images, held_out: Images, job: Job, folder: Path
) -> dict[str, Any] | None:
    """What the arm's synthetic images are like, where it has some; it may draw a sample of them."""
    if arm.synthetic is not None:
        return arm.synthetic(run, held_out, folder / "pictures" / f"{job.file(folder).stem}-samples.png")
    if isinstance(run.trainer, GMCLTrainer) and not job.options.masks:
        return lesson_measures(run.trainer, labeled, job.seed)
    return None


def keep_row(file: Path, row: dict[str, Any]) -> None:
    """Write what is kept of a run, or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(row, indent=1).encode())


def _machine(device: torch.device) -> str:
    own = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return own if device.type == "cpu" else f"{torch.cuda.get_device_name(device)}, {own}"


@lru_cache(maxsize=1)
def _commit() -> str:
    package = Path(__file__).parents[1]

    def told(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=package, capture_output=True, text=True).stdout.strip()

    # Of the package alone: runs leave files in the checkout, too, and are not another program for that.
    changed = "-dirty" if told("status", "--porcelain", ".") else ""
    return told("describe", "--always") + changed or "not a checkout"
