# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A comparison: pilots choose the strengths of tuned arms by validation, then all runs not on disk are made."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import ARMS, STRENGTHS
from monai_gmcl.benchmark.data_sets import DataOptions, part_folder
from monai_gmcl.benchmark.grid import Job, Measure, equal_compute_ratio, jobs_of, keep_row, run_jobs
from monai_gmcl.benchmark.label_kinds import kind_of
from monai_gmcl.benchmark.report import keep_command
from monai_gmcl.data import class_folder_datalist, open_segmentation_data
from monai_gmcl.data.intensities import check_intensity_range
from monai_gmcl.data.mask_parts import has_masks
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["PILOTS", "chosen_strengths", "data_options", "keep_chosen_strengths", "run_comparison"]

PILOTS = 2
"""Seeds that run every strength; the others take the one that was best over these."""
COSTS = ("wall_seconds", "cpu_seconds", "student_passes", "flops")

Rows = dict[tuple[int, float], dict[str, Any]]
"""What is kept of the runs of a tuned arm at one number of labels, by seed and strength."""


def chosen_strengths(jobs: Sequence[Job], folder: Path) -> dict[tuple[str, int], float]:
    """Return the strength of each tuned arm and n whose pilot runs are kept.

    It has the best mean AUC, or Dice, on the choosing images over the pilots' seeds; where the arm has a tolerance, it
    is the lowest strength that is so near to the best.
    """
    return {(cell[0].row_arm, cell[0].n): _chosen(rows, cell[0]) for cell, rows in _tuned_cells(jobs, folder)}


def keep_chosen_strengths(jobs: Sequence[Job], folder: Path) -> None:
    """Write the row of each seed of a tuned arm: the run at the chosen strength.

    What the other strengths cost stands under ``cost.tuning``: a seed's own where it ran them, or the pilots' mean.
    """
    for cell, rows in _tuned_cells(jobs, folder):
        chosen = _chosen(rows, cell[0])
        spent: dict[int, dict[str, float]] = {}
        for seed in _pilots(rows):
            others = [rows[seed, strength]["cost"] for strength in STRENGTHS if strength != chosen]
            spent[seed] = {name: sum(cost[name] for cost in others) for name in COSTS}
        usual = {name: statistics.mean(cost[name] for cost in spent.values()) for name in COSTS}
        for job in cell:
            if job.strength == chosen and (job.seed, chosen) in rows:
                row = rows[job.seed, chosen]
                row["cost"]["tuning"] = spent.get(job.seed, usual)
                keep_row(replace(job, strength=None).file(folder), row)


def _tuned_cells(jobs: Sequence[Job], folder: Path) -> Iterator[tuple[list[Job], Rows]]:
    """Yield the jobs of each tuned arm and n with the rows that are kept, once all of the pilots are."""
    cells: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        if job.strength is not None:
            cells.setdefault((job.row_arm, job.n), []).append(job)
    for cell in cells.values():
        strengths_of_seed = Counter(job.seed for job in cell)
        rows = {(job.seed, job.strength or 0.0): _read(job.file(folder)) for job in cell if job.is_done(folder)}
        if all((job.seed, job.strength) in rows for job in cell if strengths_of_seed[job.seed] == len(STRENGTHS)):
            yield cell, rows


def _pilots(rows: Rows) -> list[int]:
    seeds = {seed for seed, _ in rows}
    return sorted(seed for seed in seeds if all((seed, strength) in rows for strength in STRENGTHS))


def _chosen(rows: Rows, job: Job) -> float:
    metric = kind_of(job.options).metric
    means = {
        strength: statistics.mean(rows[seed, strength][f"valid_{metric}"]["chosen"] for seed in _pilots(rows))
        for strength in STRENGTHS
    }
    least = max(means.values()) - job.tolerance
    return min(strength for strength, mean in means.items() if mean >= least)


def _read(file: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return row


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
