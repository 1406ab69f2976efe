# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m studies.proof.run``: a comparison with all arms of the proof. ``grid.sh`` is the whole plan."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import torch

from monai_gmcl.benchmark.comparison import data_options, run_comparison
from monai_gmcl.benchmark.data_sets import Images
from monai_gmcl.benchmark.report.rows import Results
from monai_gmcl.benchmark.student_run import StudentRun
from studies.proof.arms import ARMS, TITLES
from studies.proof.report import write_study_report

__all__ = ["run"]

ROBUST_ARMS = ("standard", "strong", "two_stage_gan", "frozen", "gmcl")
ROBUST_IMAGES = 500
ROBUST = "robust"


def run(
    data_dir: str,
    out: str,
    n: int | Sequence[int],
    arms: str | Sequence[str],
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
    splits: str | Sequence[str] = "held_out",
    channels: int = 3,
    crop: int | None = None,
    size: int | None = None,
    upright: bool = False,
    centered: bool = False,
    spatial_dims: int = 2,
    robust: bool = False,
    workers: int = 2,
    device: str = "cpu",
) -> None:
    """Run a grid of comparisons and report it; what is on disk already is not run again.

    Args:
        data_dir, out, n, seeds, steps, splits, channels, crop, size, upright, centered, spatial_dims, workers, device:
            as for ``python -m monai_gmcl compare``.
        arms: names of :data:`studies.proof.arms.ARMS`.
        robust: whether to measure some arms under attack (FGSM, PGD) and on shifted images, too; two classes in
            2-D only, needs captum. Runs that were kept without it are run again.

    Raises:
        ConfigurationError, DataError: an unknown arm, an n that classes cannot share evenly, a missing folder.
    """
    command = _command(**locals())
    options = data_options(data_dir, channels, crop, size, upright, centered, spatial_dims)
    asked, folder = dict.fromkeys(ROBUST_ARMS, ROBUST) if robust else {}, Path(str(out))
    measures = {ROBUST: _robust}
    own = n, arms, seeds, steps, splits, workers, device, command
    run_comparison(options, folder, *own, ARMS, asked, measures)
    print(f"See {write_study_report(folder, Results.read(folder, TITLES))}")


def _robust(run: StudentRun, part: Images, seed: int) -> dict[str, Any]:
    # Here: captum is only needed for attacks.
    from studies.proof.robust_accuracy import robust_measures

    # A random part: images come class by class.
    some = torch.randperm(len(part[1]), generator=torch.Generator().manual_seed(seed))[:ROBUST_IMAGES]
    images, labels = (tensor[some].to(run.device) for tensor in part)
    return robust_measures(run.with_weights("chosen"), images, labels, seed)


def _command(**arguments: object) -> str:
    """Return the shell line of a call, from whatever place it was made."""
    given = [word for name, value in arguments.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "studies.proof.run", *given])


if __name__ == "__main__":
    fire.Fire(run)
