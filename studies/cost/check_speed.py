# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How fast the data check reads images, beside Pillow's bare decoding of the same files.

Run: ``python -m studies.cost.check_speed``, or with ``--folder`` for images of one's own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import fire
import numpy as np
from PIL import Image

from monai_gmcl.data.listing import is_image
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import DataError

__all__ = ["check_speed"]

CLASSES = ("normal", "tumor")


def check_speed(folder: str | None = None, images: int = 3000, size: int = 96, runs: int = 5, cores: int = 2) -> None:
    """Print images a second of the whole data check and of Pillow's bare decoding in one thread, and their ratio.

    Both are run in turns, after a first one that is not timed, and the medians count.

    Args:
        folder: a folder of class folders. Default: random JPEGs, written for this to a temporary folder.
        images: how many to write.
        size: their height and width.
        runs: of each.
        cores: which the process may use, where the system lets it choose.

    Raises:
        DataError: a folder without images.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(folder) if folder is not None else _written(Path(temporary), images, size)
        files = sorted(path for path in place.rglob("*") if is_image(path))
        if not files:
            raise DataError(f"Expected a folder of images, found none in {str(place)!r}.")
        works: dict[str, Callable[[], object]] = {
            "bare decoding": lambda: _decode(files),
            "data check": lambda: check_source(place),
        }
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for run in range(runs + 1):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                if run:
                    seconds[name].append(time.perf_counter() - start)
    print(f"{len(files):,} images, {cores} cores, {runs} runs")
    for name, times in seconds.items():
        rates = sorted(len(files) / second for second in times)
        print(
            f"{name:<14}{statistics.median(rates):>8,.0f} images/s   (single runs {rates[0]:,.0f} to {rates[-1]:,.0f})"
        )
    ratios = [bare / check for bare, check in zip(seconds["bare decoding"], seconds["data check"], strict=True)]
    print(f"the check runs at {statistics.median(ratios):.2f} times the speed of bare decoding in one thread")


def _written(folder: Path, images: int, size: int) -> Path:
    """Images as rough as tissue: noise, smoothed by resizing, so that their JPEGs are as large as those of patches."""
    generator = np.random.default_rng(0)
    for index in range(images):
        target = folder / CLASSES[index % 2]
        target.mkdir(exist_ok=True)
        noise = Image.fromarray(generator.integers(0, 256, (size // 2, size // 2, 3), dtype=np.uint8))
        noise.resize((size, size), Image.Resampling.BICUBIC).save(target / f"{index:05d}.jpg", quality=90)
    return folder


def _decode(files: Sequence[Path]) -> None:
    for file in files:
        with Image.open(file) as image:
            image.load()


if __name__ == "__main__":
    fire.Fire(check_speed)
