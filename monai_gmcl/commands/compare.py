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
"""``python -m monai_gmcl compare``: every way to stretch a small labeled set, at equal compute."""

from __future__ import annotations

import multiprocessing
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.grid import Job, equal_compute_ratio, jobs_of, run_jobs
from monai_gmcl.benchmark.tuning import PILOTS, chosen_strengths, keep_chosen_strengths
from monai_gmcl.commands.report import check_installed, report
from monai_gmcl.data import class_folder_datalist
from monai_gmcl.data.intensities import check_intensity_range

__all__ = ["compare"]

DEFAULT_ARMS = ("standard", "strong", "frozen", "gmcl")


def compare(
    data_dir: str,
    out: str,
    n: int | Sequence[int] = (100, 500),
    arms: str | Sequence[str] = DEFAULT_ARMS,
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
    pictures: bool = False,
    workers: int = 2,
    device: str = "cpu",
    intensity_range: Sequence[float] | None = None,
) -> None:
    """Run a grid of comparisons and report it; what is on disk already is not run again.

    Several data sets go into one folder by calling it once for each; the report is of all. ``python -m monai_gmcl
    report`` writes it again from what is on disk, also while a grid runs.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders, and those named in ``splits``.
        out: folder of the results: ``runs/*.json``, one a run, and the report. ``pictures`` in it holds what each arm
            trained on in its last step, of seed 0: images of the data set, which git is told to ignore.
        n: labeled images in all, one number or several.
        arms: which ways, by their short names.
        seeds: how many, or which. The first two run every strength of a tuned arm; the one with the best mean AUC on
            validation is the strength of all.
        steps: student steps of GMCL, 32 real images each; arms of equal compute get more.
        splits: where to measure: ``held_out`` (images of ``train`` that a seed did not draw), or folders of
            ``data_dir`` such as ``test``, to be read once, at the end.
        channels: of the images, 1 or 3.
        crop: centre to keep, pixels.
        size: to resize to, pixels.
        upright: the images have an up and a down (X-rays): small moves instead of flips and quarter turns.
        centered: the centre makes the label (PCam): nothing shifts or zooms.
        spatial_dims: 2, or 3 for NIfTI volumes.
        robust: whether to measure some arms under attack (FGSM, PGD) and on shifted images, too; two classes in
            2-D only. Runs that were kept without it are run again.
        pictures: whether the report shows images of the data set.
        workers: processes of one thread each.
        device: where they train, ``cpu`` or ``cuda``. Times are compared only among runs on one kind of machine.
        intensity_range: the files' numbers that become 0 and 1, as (0, 4095); see ``image_transforms``.

    Raises:
        ConfigurationError, DataError: an unknown arm, an n that classes cannot share evenly, a missing folder, a
            package that is not installed.
    """
    command = _command(**locals())
    check_installed("scipy", *(["captum"] if robust else []))
    # Here: the other commands of monai_gmcl do without the packages that reports need.
    from monai_gmcl.benchmark.report import keep_command

    _, names = class_folder_datalist(f"{data_dir}/train")
    limits = check_intensity_range(intensity_range)
    options = DataOptions(str(data_dir), channels, crop, size, upright, centered, spatial_dims, len(names), limits)
    out = str(out)  # fire reads 2024 as a number
    folder = Path(out)
    # In a process of its own: after a backward pass here, those that are forked could not use a GPU.
    with multiprocessing.get_context("fork").Pool(1, torch.set_num_threads, (1,)) as pool:
        ratio = pool.apply(equal_compute_ratio, (options,))
    print(f"{options.name}: a GMCL iteration costs {ratio:.2f} supervised ones (counted FLOPs)")
    n, arms = [n] if isinstance(n, int) else n, [arms] if isinstance(arms, str) else arms
    seeds, splits = range(seeds) if isinstance(seeds, int) else seeds, [splits] if isinstance(splits, str) else splits
    jobs: list[Job] = []
    for some in filter(None, (seeds[:PILOTS], seeds[PILOTS:])):
        jobs += jobs_of(options, n, arms, some, steps, splits, ratio, robust, chosen_strengths(jobs, folder))
        keep_chosen_strengths(jobs, folder)
        done = sum(job.is_done(folder) for job in jobs)
        with tqdm(total=len(jobs), initial=done, unit="run", smoothing=0) as bar:
            for job in run_jobs(jobs, folder, workers, device):
                bar.set_postfix_str(f"n={job.n} {job.row_arm} seed {job.seed} at {time.strftime('%H:%M')}")
                bar.update()
                keep_command(folder, command)
                # After each run, so that a report of a grid that runs has whatever can be compared.
                keep_chosen_strengths(jobs, folder)
    report(out, pictures)


def _command(**arguments: object) -> str:
    """Return the shell line of a call, from whatever place it was made."""
    given = [word for name, value in arguments.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "monai_gmcl", "compare", *given])
