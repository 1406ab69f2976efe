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
"""A small labeled set, four ways: standard transforms, twice as long, a frozen random teacher, GMCL.

Run: ``python -m monai_gmcl.benchmark.small_set --data_dir ../shared/data/pcam --crop 64 --size 32 --centered``. Any
folder with ``train`` and ``valid`` class folders of two classes will do. The labeled set is drawn from ``train`` by
seed; AUC is measured on up to 2,000 images of ``train`` that the seed did not draw; ``test`` is not read. ``compare``
is the full comparison.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data.meta_obj import set_track_meta
from monai.metrics.rocauc import compute_roc_auc

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions
from monai_gmcl.benchmark.student_run import StudentRun

__all__ = ["small_set"]

WAYS = {
    "standard transforms": ("standard", 1),
    "standard transforms, twice the steps": ("standard", 2),
    "frozen random teacher": ("frozen", 1),
    "GMCL": ("gmcl", 1),
}


def small_set(
    data_dir: str,
    per_class: int = 250,
    seeds: int | Sequence[int] = 3,
    steps: int = 800,
    channels: int = 3,
    crop: int | None = None,
    size: int | None = None,
    upright: bool = False,
    centered: bool = False,
    report: str = "",
) -> None:
    """Print the AUC of each way, with weights chosen on validation and with final weights.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders.
        per_class: labeled images per class.
        seeds: how many seeds, or which.
        steps: student steps of 32 real images.
        channels: of the images, 1 or 3.
        crop: centre to keep.
        size: to resize to.
        upright: the images have an up and a down: small moves instead of flips and quarter turns.
        centered: the centre makes the label: the teacher neither shifts nor zooms.
        report: JSON lines file to append each run to.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    data = BenchmarkData(DataOptions(data_dir, channels, crop, size, upright, centered))
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        labeled, (images, labels) = data.draw(per_class, seed)
        for way, (arm, length) in WAYS.items():
            run = StudentRun(ARMS[arm].build, data.options, labeled, data.choosing, seed, steps * length)
            run.run()
            found: list[Any] = [
                compute_roc_auc(run.probabilities(which, images)[:, 1], labels) for which in ("chosen", "final")
            ]
            chosen, final = map(float, found)
            results[way].append((chosen, final))
            row = {"way": way, "seed": seed, "chosen": round(chosen, 4), "final": round(final, 4)}
            row["seconds"] = round(run.cost["wall_seconds"], 1)
            print(json.dumps(row), flush=True)
            if report:
                with Path(report).open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"data": data_dir, "per_class": per_class, "steps": steps, **row}) + "\n")
    print(f"{'':<40}{'chosen':>9}{'final':>9}")
    for way, pairs in results.items():
        chosen_mean, final_mean = (statistics.mean(values) for values in zip(*pairs, strict=True))
        print(f"{way:<40}{chosen_mean:>9.4f}{final_mean:>9.4f}")


if __name__ == "__main__":
    fire.Fire(small_set)
