# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The runs of the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studies.policies.arms import ARMS
from studies.policies.tasks import TASKS

__all__ = ["PARTS", "Job", "jobs_of"]

PROTOCOL = 1
"""Raised when tasks or arms change, so that runs of before are not taken for runs of now."""
PARTS = ("held_out", "test")


@dataclass(frozen=True)
class Job:
    """One run: a student trained by an arm on the labeled images of a seed.

    Attributes:
        task: in :data:`studies.policies.tasks.TASKS`.
        n: labeled images in all.
        seed: draws the labeled images and everything random.
        arm: in :data:`studies.policies.arms.ARMS`.
        steps: student steps of GMCL.
        ratio: FLOPs of a GMCL step in units of a supervised one, for arms of equal compute.
        part: where to measure: ``held_out`` (images of ``train`` that were not drawn) or ``test``.
    """

    task: str
    n: int
    seed: int
    arm: str
    steps: int
    ratio: float
    part: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the run is known by."""
        own = {"task": self.task, "n": self.n, "seed": self.seed, "arm": self.arm, "part": self.part}
        return {"protocol": PROTOCOL, **own, "steps": self.steps, "learning_rate": TASKS[self.task].learning_rate}

    @property
    def student_steps(self) -> int:
        """Steps of this run."""
        return round(self.steps * self.ratio) if ARMS[self.arm].equal_compute else self.steps


def jobs_of(
    tasks: Sequence[str],
    arms: Sequence[str],
    n: Sequence[int],
    seeds: Sequence[int],
    steps: int | None,
    part: str,
    ratios: dict[str, float],
) -> list[Job]:
    """Return the runs, seed by seed, so that a study that is stopped has whole seeds.

    An arm that does not suit a task, such as the oracle and a control, is not run on it.

    Args:
        tasks: names.
        arms: names.
        n: numbers of labeled images in all.
        seeds: of each.
        steps: student steps of GMCL; None: the task's own.
        part: of :data:`PARTS`.
        ratios: of compute, by task.
    """
    return [
        Job(task, number, seed, arm, steps or TASKS[task].steps, ratios[task], part)
        for seed in seeds
        for task in tasks
        for number in n
        for arm in arms
        if ARMS[arm].suits(TASKS[task])
    ]
