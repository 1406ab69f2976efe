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
"""What a GMCL iteration costs beside a supervised iteration on as many images.

Run: ``python -m monai_gmcl.benchmark.cost``.

Time: both trainers in one process, interleaved, medians. Memory: each in a process of its own, the rise of its peak
resident set after imports and model building.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fire
import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.networks.nets.resnet import resnet18
from torch.utils.data import DataLoader, TensorDataset

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.hypergradients import ExactHypergradient, HeadHypergradient, Hypergradient
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["cost", "peak_resident_bytes"]

ESTIMATORS: dict[str, type[Hypergradient]] = {"head": HeadHypergradient, "exact": ExactHypergradient}


def cost(batch: int = 16, size: int = 64, iterations: int = 10, runs: int = 5, channels: int = 3) -> None:
    """Print time and memory ratios of GMCLTrainer with Head and with Exact to SupervisedTrainer on twice the images.

    Args:
        batch: real images in a GMCL iteration; the lesson has as many, and the supervised batch twice as many.
        size: height and width of the images.
        iterations: of each run; the first is not timed.
        runs: interleaved runs of each, of which the median counts.
        channels: of the images.
    """
    torch.set_num_threads(1)
    kinds = ["supervised", *ESTIMATORS]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        for kind in kinds:
            times[kind].append(_seconds_per_iteration(_trainer(kind, batch, size, iterations, channels)))
    settings = [str(value) for value in (batch, size, iterations, channels)]
    memory = {
        kind: statistics.median(_peak_in_own_process(kind, settings) for _ in range(min(runs, 3))) for kind in kinds
    }
    print(f"MONAI resnet18, {channels} x {size} x {size}, B = {batch} (supervised: {2 * batch}), 1 thread, {runs} runs")
    print(f"{'trainer':<12}{'ms':>9}{'time':>8}{'MiB':>9}{'memory':>8}")
    for kind in kinds:
        ratios = [own / base for own, base in zip(times[kind], times["supervised"], strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(
            f"{kind:<12}{statistics.median(times[kind]) * 1e3:>9.1f}{statistics.median(ratios):>8.2f}"
            f"{memory[kind]:>9.0f}{memory[kind] / memory['supervised']:>8.2f}   (time of single runs {spread})"
        )


def _trainer(kind: str, batch: int, size: int, iterations: int, channels: int) -> Trainer:
    torch.manual_seed(0)
    network = resnet18(spatial_dims=2, n_input_channels=channels, num_classes=2)
    shared: dict[str, Any] = {
        "device": "cpu",
        "max_epochs": 1,
        "epoch_length": iterations,
        "network": network,
        "optimizer": torch.optim.AdamW(network.parameters(), lr=1e-3),
        "loss_function": torch.nn.CrossEntropyLoss(),
        "decollate": False,
    }
    n = batch if kind in ESTIMATORS else 2 * batch
    images, labels = torch.rand(n * 2, channels, size, size), torch.arange(n * 2) % 2
    shared["train_data_loader"] = DataLoader(TensorDataset(images, labels), batch_size=n)
    if kind == "supervised":
        return SupervisedTrainer(**shared)
    teacher = PolicyTeacher(spatial_dims=2, in_channels=channels, num_classes=2)
    return GMCLTrainer(
        **shared,
        teacher=teacher,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.03),
        hypergradient=ESTIMATORS[kind](),
    )


def _seconds_per_iteration(trainer: Trainer) -> float:
    stamps: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: stamps.append(time.perf_counter()))
    trainer.run()
    return statistics.median(after - before for before, after in zip(stamps[:-1], stamps[1:], strict=True))


def _peak_in_own_process(kind: str, settings: list[str]) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "monai_gmcl.benchmark.cost", "peak", kind, *settings]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.strip().splitlines()[-1])


def peak(kind: str, batch: int, size: int, iterations: int, channels: int) -> None:
    """Print the rise of the peak resident set, in MiB, of one trainer's run in this process."""
    torch.set_num_threads(1)
    trainer = _trainer(kind, batch, size, iterations, channels)
    before = peak_resident_bytes()
    trainer.run()
    print((peak_resident_bytes() - before) / 2**20)


def peak_resident_bytes() -> int:
    """Return the most memory that this process has held so far (Linux)."""
    # Not ru_maxrss: a child starts with its parent's peak there, and the parent here holds models of its own.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    fire.Fire({"cost": cost, "peak": peak} if sys.argv[1:2] == ["peak"] else cost)
