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

import shlex
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.grid import equal_compute_ratio, jobs_of, keep_chosen_strengths, run_jobs
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["compare"]

DEFAULT_ARMS = ("standard", "strong", "frozen", "gmcl")


def compare(
    data_dir: str,
    out: str,
    n: int | Sequence[int] = (100, 500),
    arms: str | Sequence[str] = DEFAULT_ARMS,
    seeds: int | Sequence[int] = 3,
    steps: int = 800,
    splits: str | Sequence[str] = "held_out",
    channels: int = 3,
    crop: int | None = None,
    size: int | None = None,
    upright: bool = False,
    centered: bool = False,
    attack: bool = False,
    workers: int = 2,
) -> None:
    """Run a grid of comparisons; what is on disk already is not run again.

    Ends in ``report.html``, ``summary.md`` and CSV files. Several data sets go into one folder by calling it once for
    each; the report is of all.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders of two classes, and those named in ``splits``.
        out: folder of the results: ``runs/*.json``, one a run, pictures of what arms train on, and the report. It
            holds images of the data set.
        n: labeled images in all, one number or several.
        arms: which ways, by their short names.
        seeds: how many, or which.
        steps: student steps of GMCL, 32 real images each; arms of equal compute get more.
        splits: where to measure: ``held_out`` (images of ``train`` that a seed did not draw), or folders of
            ``data_dir`` such as ``test``, to be read once, at the end.
        channels: of the images, 1 or 3.
        crop: centre to keep, pixels.
        size: to resize to, pixels.
        upright: the images have an up and a down (X-rays): small moves instead of flips and quarter turns.
        centered: the centre makes the label (PCam): nothing shifts or zooms.
        attack: whether to measure the accuracy under attack (FGSM, PGD) and shifts, too.
        workers: processes of one thread each.

    Raises:
        ConfigurationError, DataError: an unknown arm, an odd n, a missing folder, a package that is not installed.
    """
    _check_installed("scipy", *(["captum"] if attack else []))
    options = DataOptions(str(data_dir), channels, crop, size, upright, centered)
    folder = Path(out)
    ratio = equal_compute_ratio(options)
    print(f"{options.name}: a GMCL iteration costs {ratio:.2f} supervised ones (counted FLOPs)")
    jobs = jobs_of(
        options,
        [n] if isinstance(n, int) else n,
        [arms] if isinstance(arms, str) else arms,
        range(seeds) if isinstance(seeds, int) else seeds,
        steps,
        [splits] if isinstance(splits, str) else splits,
        ratio,
        attack,
    )
    done = sum(job.file(folder).exists() for job in jobs)
    with tqdm(total=len(jobs), initial=done, unit="run", smoothing=0) as bar:
        for job in run_jobs(jobs, folder, workers):
            bar.set_postfix_str(f"n={job.n} {job.row_arm} seed {job.seed} at {time.strftime('%H:%M')}")
            bar.update()
    keep_chosen_strengths(jobs, folder)
    # Here: the other commands of monai_gmcl do without the packages that reports need.
    from monai_gmcl.benchmark.report import keep_command, write_report

    keep_command(folder, shlex.join(["python", "-m", "monai_gmcl", *sys.argv[1:]]))
    print(f"See {write_report(folder)}")


def _check_installed(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f'compare needs {" and ".join(missing)}, not installed here: pip install "monai_gmcl[benchmark]".'
        )
