# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the study: ``python -m studies.policies.run --data_dir ../shared/data``; goes on where its rows end."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta
from monai.engines.trainer import Trainer

from monai_gmcl.benchmark.grid import equal_compute_ratio
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import mean_auc
from monai_gmcl.teachers import PolicyTeacher
from studies.policies.arms import ARMS
from studies.policies.jobs import PARTS, Job, jobs_of
from studies.policies.rows import read_rows
from studies.policies.tasks import TASKS, TaskData

__all__ = ["run"]

ROOT = Path(__file__).parents[2]


def run(
    data_dir: str,
    tasks: str | Sequence[str] = tuple(TASKS),
    arms: str | Sequence[str] = tuple(ARMS),
    n: int | Sequence[int] = (150, 400),
    seeds: int | Sequence[int] = 5,
    steps: int | None = None,
    part: str = "held_out",
    workers: int = 2,
    out: str = "studies/policies/rows.jsonl",
) -> None:
    """Run what is not among the rows yet, and append a row for each run.

    Args:
        data_dir: folder with ``pcam`` and ``pneumonia``.
        tasks: names, separated by commas.
        arms: names, separated by commas.
        n: numbers of labeled images in all.
        seeds: how many, from 0 on, or which ones, as a list: ``[100,101]``.
        steps: student steps of GMCL. Default: 800; 150 of the pretrained student.
        part: where to measure: ``held_out``, for development, or ``test``, once, at the end.
        workers: processes, one thread each.
        out: file of rows, a JSON object a line.

    Raises:
        ConfigurationError: an unknown name, a number that is not above 0, another command that writes to ``out``,
            or a pretrained student whose package is not installed.
        DataError: a damaged file of rows, or no images in ``data_dir``.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    tasks, arms = _names("tasks", tasks, TASKS), _names("arms", arms, ARMS)
    (part,) = _names("part", part, PARTS)
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    numbers = [n] if isinstance(n, int) else list(n)
    if not chosen or min(chosen) < 0 or min([1 if steps is None else steps, workers, *numbers]) < 1:
        raise ConfigurationError(
            f"Expected steps, workers and n from 1 and seeds from 0, got {steps}, {workers}, {numbers} and {seeds}."
        )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with _own(Path(out)):
        done = {json.dumps(row["settings"], sort_keys=True) for row in read_rows(Path(out))}
        ratios = {task: _ratio(task, str(data_dir)) for task in tasks}
        jobs = jobs_of(tasks, arms, numbers, chosen, steps, part, ratios)
        missing = [job for job in jobs if json.dumps(job.settings, sort_keys=True) not in done]
        print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them done", flush=True)
        for job in missing:
            # Read before the processes split, so that they share it; errors come before the first run.
            data = _data(job.task, str(data_dir))
            data.read(*(["test"] if part == "test" else []))
            data.draw(job.n, job.seed)
        _run_all(missing, str(data_dir), workers, Path(out))


def _run_all(jobs: Sequence[Job], data_dir: str, workers: int, out: Path) -> None:
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        for count, row in enumerate(pool.imap_unordered(_run, [(job, data_dir) for job in jobs]), 1):
            # One write of a whole line: a study that is killed leaves no half of one.
            with out.open("ab", buffering=0) as file:
                file.write(json.dumps(row, default=str).encode() + b"\n")
            own = row["settings"]
            left = (time.perf_counter() - began) / count * (len(jobs) - count) / 60
            told = " ".join(str(own[name]) for name in ("task", "n", "seed", "arm"))
            print(f"{count}/{len(jobs)} {told} {row['auc']}, {left:.0f} minutes left", flush=True)


def _run(what: tuple[Job, str]) -> dict[str, Any]:
    job, data_dir = what
    began = time.perf_counter()
    try:
        data = _data(job.task, data_dir)
        labeled, held_out = data.draw(job.n, job.seed)
        images, labels = held_out if job.part == "held_out" else data.test
        build, rate = ARMS[job.arm].build(data.task), data.task.learning_rate
        student = StudentRun(
            build,
            data.options,
            labeled,
            data.choosing,
            job.seed,
            job.student_steps,
            learning_rate=rate,
            make_network=data.task.make_network,
        )
        usual = _strengths(student.trainer, 1.0)
        student.run()
        auc = {which: round(mean_auc(student.probabilities(which, images), labels), 5) for which in student.weights}
    except Exception as error:
        raise RuntimeError(f"{job} failed: {error}") from error
    return {
        "settings": job.settings,
        "student_steps": job.student_steps,
        "commit": _commit(),
        "auc": auc,
        "valid_auc": {which: round(value, 5) for which, value in student.valid_scores.items()},
        **_learned(student.trainer, usual),
        "flops": student.cost["flops"],
        "seconds": round(time.perf_counter() - began, 1),
    }


def _learned(trainer: Trainer, usual: dict[str, float]) -> dict[str, Any]:
    """Where the policy and the curriculum ended; nothing of arms without a teacher."""
    if not isinstance(trainer, GMCLTrainer):
        return {}
    difficulty = trainer.curriculum.at(1.0).difficulty
    teacher, optimizer = trainer.teacher, trainer.teacher_optimizer
    assert isinstance(teacher, PolicyTeacher)
    settings = {} if optimizer is None else {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    shares = {o.name: share for o, share in zip(teacher.operations, teacher.shares.tolist(), strict=True)}
    ends = _strengths(trainer, difficulty)
    return {
        "teacher_optimizer": None if optimizer is None else {"name": type(optimizer).__name__, **settings},
        "difficulty": round(difficulty, 4),
        "policy": {
            name: {
                "share": round(share, 4),
                "strength": round(ends[name], 5),
                # Of the usual strength or probability.
                "relative": round(ends[name] / usual[name], 4),
            }
            for name, share in shares.items()
        },
    }


@torch.no_grad()
def _strengths(trainer: Trainer, difficulty: float) -> dict[str, float]:
    """Strength of each operation, probability of those without one."""
    teacher = getattr(trainer, "teacher", None)
    if not isinstance(teacher, PolicyTeacher):
        return {}
    found = teacher.strengths(difficulty).tolist()
    return {operation.name: strength for operation, strength in zip(teacher.operations, found, strict=True)}


@cache
def _data(task: str, data_dir: str) -> TaskData:
    return TaskData(task, data_dir)


def _ratio(task: str, data_dir: str) -> float:
    return _counted_ratio(TASKS[task].options(data_dir), TASKS[task].make_network)


_counted_ratio = cache(equal_compute_ratio)


@lru_cache(maxsize=1)
def _commit() -> str:
    def told(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = "-dirty" if told("status", "--porcelain", "monai_gmcl", "studies/policies/*.py") else ""
    return told("describe", "--always") + changed or "not a checkout"


def _names(argument: str, given: str | Sequence[str], known: Sequence[str] | dict[str, Any]) -> list[str]:
    names = given.split(",") if isinstance(given, str) else list(given)
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{argument}: expected {', '.join(known)}, got {name!r}.")
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"{argument}: expected each name once, got {given!r}.")
    return names


@contextmanager
def _own(file: Path) -> Iterator[None]:
    """Keep other commands from writing to the same rows: each would run what the other runs."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ConfigurationError(
            f"Expected {str(file)!r} for this command alone, but another one writes to it. "
            "Name another file as --out: the report reads several."
        ) from error
    try:
        yield
    finally:
        os.close(lock)


if __name__ == "__main__":
    fire.Fire(run)
