# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Time of the teachers' transforms beside MONAI's ``RandAffined`` and ``RandGaussianSmoothd``.

Run: ``python -m studies.cost.transforms``.

One process, passes interleaved, medians. Loaders keep their workers, so that none is started while the clock runs.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import fire
import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.engines.utils import PrepareBatch, PrepareBatchDefault
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import RandGaussianSmoothd
from monai.transforms.spatial.dictionary import RandAffined
from monai.transforms.utility.dictionary import Identityd

from monai_gmcl.one_thread import one_thread
from monai_gmcl.teachers import ImageTeacher, PolicyTeacher, StainTeacher, Teacher
from monai_gmcl.transforms import RandTeacherAugmentd, TeacherBatchAugment

__all__ = ["throughput"]

STOCK = "RandAffined + RandGaussianSmoothd"


def throughput(
    size: int = 96,
    channels: int = 3,
    spatial_dims: int = 2,
    images: int = 256,
    batch_size: int = 32,
    workers: int = 2,
    runs: int = 7,
    device: str = "cpu",
) -> None:
    """Print images a second of each teacher's transforms, and how many times as long as MONAI's two they take.

    Every image is changed. ``RandTeacherAugmentd`` works in the loader's workers, as MONAI's two do;
    ``TeacherBatchAugment`` in the main process, on batches that such a loader gives unchanged. The loader's own time,
    that of the first row, is in all.

    Args:
        size: of each side of the images.
        channels: of the images; StainTeacher is for 3 in 2-D.
        spatial_dims: 2 or 3.
        images: in a pass.
        batch_size: of the loader.
        workers: of the loader; 0 for the main process.
        runs: interleaved passes of each, of which the median counts; one more comes before them, untimed.
        device: of TeacherBatchAugment.
    """
    torch.manual_seed(0)
    shape = (channels, *[size] * spatial_dims)
    data = [{"image": torch.rand(shape), "label": i % 2} for i in range(images)]
    passes = _passes(data, spatial_dims, channels, {"batch_size": batch_size, "num_workers": workers})
    times: dict[str, list[float]] = {kind: [] for kind in passes}
    # Threads of the main process that wait for cores on which workers run make it many times slower.
    with one_thread():
        for run in range(runs + 1):
            for kind, (loader, prepare) in passes.items():
                seconds = _seconds(loader, prepare, device)
                if run:
                    times[kind].append(seconds)
    print(
        f"{images} images {' x '.join(map(str, shape))}, batches of {batch_size}, {workers} workers, main process on "
        f"{device}, 1 thread a process, {runs} runs"
    )
    print(f"{'':<36}{'images/s':>10}{'time':>8}")
    for kind, own in times.items():
        ratios = [one / stock for one, stock in zip(own, times[STOCK], strict=True)]
        print(
            f"{kind:<36}{images / statistics.median(own):>10.0f}{statistics.median(ratios):>8.2f}"
            f"   (single runs {min(ratios):.2f}-{max(ratios):.2f})"
        )


def _passes(
    data: list[dict[str, Any]], spatial_dims: int, channels: int, options: dict[str, Any]
) -> dict[str, tuple[DataLoader, PrepareBatch]]:
    """What is timed: by its name the loader and what prepares its batches."""

    def loader(transform: Any) -> DataLoader:
        return DataLoader(Dataset(data, transform), **options, persistent_workers=options["num_workers"] > 0)

    plain, unchanged, teachers = PrepareBatchDefault(), loader(Identityd("image")), _teachers(spatial_dims, channels)
    passes: dict[str, tuple[DataLoader, PrepareBatch]] = {
        "no transform": (unchanged, plain),
        STOCK: (loader(_stock()), plain),
    }
    for name, teacher in teachers.items():
        passes[f"RandTeacherAugmentd, {name}"] = (loader(RandTeacherAugmentd("image", teacher, prob=1.0)), plain)
    for name, teacher in teachers.items():
        passes[f"TeacherBatchAugment, {name}"] = (unchanged, TeacherBatchAugment(teacher, fraction=1.0))
    return passes


def _stock() -> Compose:
    """Return MONAI's two transforms at usual strengths; what does not suit 2-D they do not look at."""
    affine = RandAffined(
        "image",
        prob=1.0,
        rotate_range=0.35,
        shear_range=0.1,
        scale_range=0.15,
        translate_range=5,
        padding_mode="reflection",
    )
    return Compose([affine, RandGaussianSmoothd("image", prob=1.0)])


def _teachers(spatial_dims: int, channels: int) -> dict[str, Teacher]:
    teachers: list[Teacher] = [PolicyTeacher(spatial_dims, channels, 2), ImageTeacher(spatial_dims, channels, 2)]
    if (spatial_dims, channels) == (2, 3):
        teachers.append(StainTeacher())
    return {type(teacher).__name__: teacher for teacher in teachers}


def _seconds(loader: DataLoader, prepare: PrepareBatch, device: str) -> float:
    start = time.perf_counter()
    for batch in loader:
        prepare(batch, device)
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    fire.Fire(throughput)
