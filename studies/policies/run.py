# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the study: ``python -m studies.policies.run --data_dir ../shared/data``; goes on where its rows end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache, partial
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
from studies.grid import checked_names, commit, run_missing, seeds_of, without_rows
from studies.policies.arms import ARMS
from studies.policies.jobs import PARTS, Job, jobs_of
from studies.policies.rows import NEEDED
from studies.policies.tasks import TASKS, task_data

__all__ = ["run"]


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
    tasks, arms = checked_names("tasks", tasks, TASKS), checked_names("arms", arms, ARMS)
    (part,) = checked_names("part", part, PARTS)
    chosen = seeds_of(seeds)
    numbers = [n] if isinstance(n, int) else list(n)
    if not chosen or min(chosen) < 0 or min([1 if steps is None else steps, workers, *numbers]) < 1:
        raise ConfigurationError(
            f"Expected steps, workers and n from 1 and seeds from 0, got {steps}, {workers}, {numbers} and {seeds}."
        )
    ratios = {task: _ratio(task, str(data_dir)) for task in tasks}
    jobs = jobs_of(tasks, arms, numbers, chosen, steps, part, ratios)
    with without_rows(jobs, Path(out), NEEDED) as missing:
        for job in missing:
            # Read before the processes split, so that they share it; errors come before the first run.
            data = task_data(job.task, str(data_dir))
            data.read(*(["test"] if part == "test" else []))
            data.draw(job.n, job.seed)
        run_missing(missing, partial(_run, str(data_dir)), workers, Path(out), _told)


def _told(job: Job) -> str:
    return f"{job.task} {job.n} {job.seed} {job.arm}"


def _run(data_dir: str, job: Job) -> dict[str, Any]:
    began = time.perf_counter()
    data = task_data(job.task, data_dir)
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
    return {
        "settings": job.settings,
        "student_steps": job.student_steps,
        "commit": commit("studies/grid.py", "studies/policies/*.py"),
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


def _ratio(task: str, data_dir: str) -> float:
    return _counted_ratio(TASKS[task].options(data_dir), TASKS[task].make_network)


_counted_ratio = cache(equal_compute_ratio)


if __name__ == "__main__":
    fire.Fire(run)
