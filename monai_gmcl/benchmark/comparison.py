# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A comparison: pilots choose the strengths of tuned arms, then all runs that are not on disk yet are made."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.data_sets import DataOptions, part_folder
from monai_gmcl.benchmark.grid import Job, Measure, equal_compute_ratio, jobs_of, run_jobs
from monai_gmcl.benchmark.report import keep_command
from monai_gmcl.benchmark.tuning import PILOTS, chosen_strengths, keep_chosen_strengths
from monai_gmcl.data import class_folder_datalist, open_segmentation_data
from monai_gmcl.data.intensities import check_intensity_range
from monai_gmcl.data.mask_parts import has_masks
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["data_options", "run_comparison"]


def data_options(
    data_dir: str,
    channels: int | None,
    crop: int | None,
    size: int | None,
    upright: bool,
    centered: bool,
    spatial_dims: int | None,
    intensity_range: Sequence[float] | None = None,
    patch: int | None = None,
) -> DataOptions:
    """Return how a data set is read, its classes counted; arguments, and errors, as for ``compare``."""
    limits = check_intensity_range(intensity_range)
    if has_masks(data_dir):
        data = open_segmentation_data(data_dir, intensity_range=limits)
        shape, classes = (channels or data.channels, crop, size), data.num_classes
        dims = data.spatial_dims if spatial_dims is None else spatial_dims
        return DataOptions(str(data_dir), *shape, upright, centered, dims, classes, limits, True, patch)
    if patch is not None:
        raise ConfigurationError(f"compare: patch is accepted only for images with masks; {data_dir!r} has classes.")
    _, names = class_folder_datalist(part_folder(data_dir, "train"))
    options = (channels or 3, crop, size, upright, centered, spatial_dims or 2, len(names), limits)
    return DataOptions(str(data_dir), *options)


def run_comparison(
    options: DataOptions,
    folder: Path,
    n: int | Sequence[int],
    arms: str | Sequence[str],
    seeds: int | Sequence[int],
    steps: int,
    splits: str | Sequence[str],
    workers: int,
    device: str,
    command: str,
    known: Mapping[str, Arm] = ARMS,
    asked: Mapping[str, str] | None = None,
    measures: Mapping[str, Measure] | None = None,
) -> None:
    """Run the jobs of a comparison that are not kept yet, and keep them.

    Arguments, and errors, are those of ``compare``; the arms that are ``known`` by name; the key of one more measure
    that is ``asked`` of an arm, and these ``measures`` by key. The ``command`` is a shell line for the report.
    """
    # In a process of its own: after a backward pass here, those that are forked could not use a GPU.
    with multiprocessing.get_context("fork").Pool(1, torch.set_num_threads, (1,)) as pool:
        ratio = pool.apply(equal_compute_ratio, (options,))
    print(f"{options.name}: a GMCL iteration costs {ratio:.2f} times the FLOPs of a supervised one")
    n, arms = [n] if isinstance(n, int) else n, [arms] if isinstance(arms, str) else arms
    seeds, splits = range(seeds) if isinstance(seeds, int) else seeds, [splits] if isinstance(splits, str) else splits
    jobs: list[Job] = []
    for some in filter(None, (seeds[:PILOTS], seeds[PILOTS:])):
        chosen = chosen_strengths(jobs, folder)
        jobs += jobs_of(options, n, arms, some, steps, splits, ratio, chosen, known, asked)
        keep_chosen_strengths(jobs, folder)
        done = sum(job.is_done(folder) for job in jobs)
        with tqdm(total=len(jobs), initial=done, unit="run", smoothing=0) as bar:
            for job in run_jobs(jobs, folder, workers, device, known, measures):
                bar.set_postfix_str(f"n={job.n} {job.row_arm} seed {job.seed} at {time.strftime('%H:%M')}")
                bar.update()
                keep_command(folder, command)
                # After each run, so that a report of a grid that runs has whatever can be compared.
                keep_chosen_strengths(jobs, folder)
