# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs with wrong masks: ``python -m studies.segmentation.wrong_masks``; goes on where its rows end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta
from monai.utils.misc import set_determinism

from monai_gmcl.exceptions import ConfigurationError
from studies.grid import FieldsJob, checked_names, commit, run_missing, seeds_of, without_rows
from studies.segmentation.images import read_part
from studies.segmentation.mask_arms import ARMS, LESSON, builder, patches_of
from studies.segmentation.mask_errors import ERRORS, MASKS, draw
from studies.segmentation.training import VALIDATIONS, train_student
from studies.wrong_labels.weights_by_mark import WeightsByMark

__all__ = ["NEEDED", "Job", "run"]

PARTS, EQUAL = ("held_out", "test"), ("passes", "steps")
PASSES = 4 * LESSON
"""Patches in a step of ours that pass through the student."""


@dataclass(frozen=True)
class Job(FieldsJob):
    """One run; what its arguments mean is told by :func:`run`."""

    n: int
    trusted: int
    errors: str
    share: float
    seed: int
    arm: str
    part: str
    steps: int
    equal: str

    @property
    def student_steps(self) -> int:
        """Steps of this run."""
        return self.steps * PASSES // ARMS[self.arm].passes if self.equal == "passes" else self.steps


NEEDED = tuple(Job.__dataclass_fields__)
"""What the settings of a row hold."""


def run(
    arms: str | Sequence[str] = tuple(ARMS),
    errors: str | Sequence[str] = "mixed",
    share: float = 0.3,
    n: int = 40,
    trusted: int = 10,
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
    equal: str | Sequence[str] = EQUAL,
    part: str = "held_out",
    workers: int = 1,
    out: str = "studies/segmentation/wrong_masks.jsonl",
) -> None:
    """Run what is not among the rows yet, seed by seed, and append a row for each run.

    Args:
        arms: names, separated by commas.
        errors: kinds of wrong masks, separated by commas; ``mixed``: a third of each.
        share: of wrong masks, from 0 to below .5.
        n: images with doubtful masks.
        trusted: others with right masks.
        seeds: how many, from 0 on, or which ones, as a list: ``[100,101]``.
        steps: of ours.
        equal: ``passes``: other arms get as many steps as make as many student passes over patches; ``steps``: as many
            steps; or both, separated by a comma.
        part: where to measure: ``held_out``, for development, or ``test``, once, at the end.
        workers: processes, one thread each.
        out: file of rows, a JSON object a line.

    Raises:
        ConfigurationError: an unknown name, a number outside its range, or another command that writes to ``out``.
        DataError: a damaged file of rows.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    names, kinds = checked_names("arms", arms, ARMS), checked_names("errors", errors, ERRORS)
    ways, (measured,) = checked_names("equal", equal, EQUAL), checked_names("part", part, PARTS)
    chosen = seeds_of(seeds)
    if not (0 <= share < 0.5 and steps >= VALIDATIONS and trusted >= LESSON and min(n, workers, len(chosen)) >= 1):
        raise ConfigurationError(
            f"Expected a share from 0 to below .5, steps from {VALIDATIONS}, trusted from {LESSON}, and n, workers and "
            f"seeds from 1, got {share}, {steps}, {trusted}, {n}, {workers} and {seeds}."
        )
    draw(n, trusted, kinds[0], share, 0)
    jobs = [
        Job(n, trusted, kind, float(share), seed, arm, measured, steps, way)
        for seed, kind, arm in product(chosen, kinds, names)
        # Ours is the same either way.
        for way in (ways if ARMS[arm].ours is None else EQUAL[:1])
    ]
    with without_rows(jobs, Path(out), NEEDED) as missing:
        run_missing(missing, _run, workers, Path(out), _told, "dice")


def _told(job: Job) -> str:
    return f"{job.errors} {job.share} seed {job.seed} {job.arm} ({job.equal})"


def _run(job: Job) -> dict[str, Any]:
    began = time.process_time()
    set_determinism(job.seed)
    data, arm = draw(job.n, job.trusted, job.errors, job.share, job.seed), ARMS[job.arm]
    data = data.with_right_masks() if arm.right else data
    measured = read_part("vessels", "test", "") if job.part == "test" else data.held_out
    patches, sampler = patches_of(data, arm.doubtful, arm.batch * (job.student_steps // VALIDATIONS))
    watched, valid = WeightsByMark(), read_part("vessels", "valid", "")
    build = builder(arm, data, watched, job.seed)
    _, found = train_student(build, patches, arm.batch, job.student_steps, valid, measured, sampler)
    return {
        "settings": job.settings,
        "student_steps": job.student_steps,
        "commit": commit("studies/grid.py", "studies/segmentation/*.py"),
        **found,
        **_weights(watched),
        "seconds": round(time.process_time() - began, 1),
    }


def _weights(watched: WeightsByMark) -> dict[str, Any]:
    """Mean weights of the lessons' images by what was done with their masks, and how well they tell right ones."""
    if not watched.seen:
        return {}
    means = {kind: watched.mean(mark) for mark, kind in enumerate(MASKS)}
    found: dict[str, Any] = {"weights": {kind: round(mean, 3) for kind, mean in means.items() if not math.isnan(mean)}}
    # Where all masks are right, there is nothing to tell apart.
    if len(found["weights"]) > 1:
        found["weights_auc"] = round(watched.told_apart(right=0), 3)
    return found


if __name__ == "__main__":
    fire.Fire(run)
