# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a GMCL iteration costs beside a supervised iteration on as many images.

Run: ``python -m studies.cost.cost``; ``... growth`` for how it grows with the images and their pixels.

Time: all trainers in one process, interleaved, medians. Memory: each in a process of its own, the rise of its peak
resident set after imports and model building. Operations: counted in one iteration.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fire
import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.losses.dice import DiceCELoss
from monai.networks.nets.densenet import DenseNet121
from monai.networks.nets.resnet import resnet18
from monai.networks.nets.unet import UNet
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_gmcl.benchmark.flops import FlopCounter
from monai_gmcl.benchmark.student_run import peak_resident_bytes
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    HeadHypergradient,
    Hypergradient,
)
from monai_gmcl.teachers import PolicyTeacher
from monai_gmcl.weighting import LookAheadWeighting, PseudoLabeler, UniformWeighting

__all__ = ["cost", "growth", "unlabeled"]

ESTIMATORS: dict[str, type[Hypergradient]] = {
    "head": HeadHypergradient,
    "exact": ExactHypergradient,
    "forward": ForwardHypergradient,
    "fd": FiniteDifferenceHypergradient,
}
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet18": lambda dims, channels: resnet18(spatial_dims=dims, n_input_channels=channels, num_classes=2),
    "densenet121": lambda dims, channels: DenseNet121(dims, channels, 2),
    "unet": lambda dims, channels: UNet(dims, channels, 2, (16, 32, 64), (2, 2), num_res_units=1),
}
COUNTED = 3
"""The iteration whose operations are counted: the first that is like those that follow."""


class _Settings(NamedTuple):
    network: str
    batch: int
    size: int
    iterations: int
    channels: int
    spatial_dims: int


def cost(
    batch: int = 16,
    size: int = 64,
    iterations: int = 10,
    runs: int = 5,
    channels: int = 3,
    network: str = "resnet18",
    spatial_dims: int = 2,
    out: str | None = None,
) -> None:
    """Print time, operations and memory of GMCLTrainer by estimator, relative to SupervisedTrainer on twice the images.

    Args:
        batch: real images in a GMCL iteration; the lesson has as many, and the supervised batch twice as many.
        size: of the images, each way.
        iterations: of each run; the first is not timed.
        runs: interleaved runs of each, of which the median counts.
        channels: of the images.
        network: of MONAI, ``resnet18``, ``densenet121`` or ``unet``, which segments.
        spatial_dims: 2 or 3.
        out: folder for ``cost.csv`` and ``cost.png``.

    Raises:
        ConfigurationError: another network.
    """
    if network not in NETWORKS:
        raise ConfigurationError(f"cost: network must be one of {', '.join(NETWORKS)}, got {network!r}.")
    torch.set_num_threads(1)
    kinds = ["supervised", *ESTIMATORS]
    settings = _Settings(network, batch, size, iterations, channels, spatial_dims)
    operations = {kind: _operations(_trainer(kind, settings)) for kind in kinds}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        for kind in kinds:
            times[kind].append(_seconds_per_iteration(_trainer(kind, settings)))
    memory = {
        kind: statistics.median(_peak_in_own_process(kind, settings) for _ in range(min(runs, 3))) for kind in kinds
    }
    shape = " x ".join(map(str, [channels, *[size] * spatial_dims]))
    print(f"MONAI {network}, {shape}, B = {batch} (supervised: {2 * batch}), 1 thread, {runs} runs")
    print(f"{'trainer':<12}{'ms':>9}{'time':>8}{'expected':>10}{'MiB':>9}{'memory':>8}")
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        ratios = [own / base for own, base in zip(times[kind], times["supervised"], strict=True)]
        row = {
            "trainer": kind,
            "milliseconds": statistics.median(times[kind]) * 1e3,
            "time": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
            "expected": operations[kind] / operations["supervised"],
            "mebibytes": memory[kind],
            "memory": memory[kind] / memory["supervised"],
        }
        rows.append(row)
        print(
            f"{kind:<12}{row['milliseconds']:>9.1f}{row['time']:>8.2f}{row['expected']:>10.2f}{row['mebibytes']:>9.0f}"
            f"{row['memory']:>8.2f}   (time of single runs {row['least']:.2f}-{row['most']:.2f})"
        )
    print("expected: counted operations, relative to the supervised iteration's")
    if out:
        _write(rows, Path(out))


def growth(network: str = "resnet18", iterations: int = 6, runs: int = 3, channels: int = 1) -> None:
    """Print how the time of an iteration with Head grows with the images in it and with their pixels, in 2-D and 3-D.

    Each is fitted by a straight line; R² says how straight.

    Args:
        network: of MONAI, ``resnet18``, ``densenet121`` or ``unet``, which segments.
        iterations: of each run; the first is not timed.
        runs: interleaved runs of each size, of which the median counts.
        channels: of the images.
    """
    torch.set_num_threads(1)
    for dims, sizes, size in ((2, (32, 64, 96, 128), 64), (3, (16, 24, 32, 40), 24)):
        by_images = {b: _Settings(network, b, size, iterations, channels, dims) for b in (8, 16, 24, 32)}
        by_pixels = {s**dims: _Settings(network, 8, s, iterations, channels, dims) for s in sizes}
        for name, points in (("images", by_images), ("pixels", by_pixels)):
            taken: dict[int, list[float]] = {point: [] for point in points}
            for _ in range(runs):
                for point, settings in points.items():
                    taken[point].append(_seconds_per_iteration(_trainer("head", settings)))
            medians = {point: statistics.median(values) for point, values in taken.items()}
            told = ", ".join(f"{point}: {seconds * 1e3:.0f} ms" for point, seconds in medians.items())
            straight = statistics.correlation(list(medians), list(medians.values())) ** 2
            slope, start = statistics.linear_regression(list(medians), list(medians.values()))
            print(
                f"{dims}-D, {name}: {told}; {slope * 1e3:.3g} ms each and {start * 1e3:.0f} ms, R² = {straight:.4f}",
                flush=True,
            )


def unlabeled(network: str = "resnet18", batch: int = 16, size: int = 64, iterations: int = 8, runs: int = 5) -> None:
    """Print what unlabeled images cost beside as many labeled ones in the lesson.

    An iteration with Head on B real images and a lesson of 2 B, of which half are unlabeled: with labels that
    :class:`monai_gmcl.PseudoLabeler` proposes and weights of the look-ahead, relative to the same with labels that are
    given and weights that are equal.

    Args:
        network: of MONAI, ``resnet18``, ``densenet121`` or ``unet``, which segments.
        batch: B.
        size: side of the images.
        iterations: of each run; the first is not timed.
        runs: interleaved runs of each, of which the median counts.
    """
    torch.set_num_threads(1)
    settings = _Settings(network, batch, size, iterations, 3, 2)
    found = [
        _seconds_per_iteration(_trainer("proposed", settings)) / _seconds_per_iteration(_trainer("given", settings))
        for _ in range(runs)
    ]
    print(f"unlabeled: {statistics.median(found):.2f} times ({min(found):.2f} to {max(found):.2f} in {runs} runs)")


def _trainer(kind: str, settings: _Settings) -> Trainer:
    name, batch, size, iterations, channels, dims = settings
    torch.manual_seed(0)
    network = NETWORKS[name](dims, channels)
    shared: dict[str, Any] = {
        "device": "cpu",
        "max_epochs": 1,
        "epoch_length": iterations,
        "network": network,
        "optimizer": torch.optim.AdamW(network.parameters(), lr=1e-3),
        "loss_function": DiceCELoss(to_onehot_y=True, softmax=True) if name == "unet" else nn.CrossEntropyLoss(),
        "decollate": False,
    }
    n = 2 * batch if kind == "supervised" else batch
    images, labels = torch.rand(n * 2, channels, *[size] * dims), torch.arange(n * 2) % 2
    if name == "unet":
        labels = (torch.rand(n * 2, 1, *[size] * dims) > 0.5).long()
    shared["train_data_loader"] = DataLoader(TensorDataset(images, labels), batch_size=n)
    if kind == "supervised":
        return SupervisedTrainer(**shared)
    teacher = PolicyTeacher(spatial_dims=dims, in_channels=channels, num_classes=2)
    if kind not in ESTIMATORS:
        shared["unlabeled_data_loader"] = DataLoader([{"image": image} for image in images], batch_size=n)  # type: ignore[arg-type]
        if kind == "proposed":
            shared["label_proposal"], shared["weighting"] = PseudoLabeler(), LookAheadWeighting()
        else:
            shared["label_proposal"] = lambda x: (labels[: len(x)], torch.ones(len(x)))
            shared["weighting"] = UniformWeighting()
    return GMCLTrainer(
        **shared,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        hypergradient=ESTIMATORS.get(kind, HeadHypergradient)(),
    )


def _seconds_per_iteration(trainer: Trainer) -> float:
    stamps: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: stamps.append(time.perf_counter()))
    trainer.run()
    return statistics.median(after - before for before, after in zip(stamps[:-1], stamps[1:], strict=True))


def _operations(trainer: Trainer) -> float:
    counter = FlopCounter()
    trainer.add_event_handler(Events.ITERATION_STARTED(once=COUNTED), counter.__enter__)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=COUNTED), counter.__exit__, None, None, None)
    trainer.run()
    return float(counter.total)


def _peak_in_own_process(kind: str, settings: _Settings) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "studies.cost.cost", "peak", kind, *map(str, settings)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.strip().splitlines()[-1])


def peak(kind: str, *settings: Any) -> None:
    """Print the rise of the peak resident set, in MiB, of one trainer's run in this process."""
    torch.set_num_threads(1)
    trainer = _trainer(kind, _Settings(*settings))
    before = peak_resident_bytes()
    trainer.run()
    print((peak_resident_bytes() - before) / 2**20)


def _write(rows: list[dict[str, Any]], folder: Path) -> None:
    # Here: the command does without matplotlib where nothing is drawn.
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "cost.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    for shift, column in ((-0.27, "time"), (0.0, "expected"), (0.27, "memory")):
        bars = axes.bar([k + shift for k in range(len(rows))], [row[column] for row in rows], 0.25, label=column)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(range(len(rows)), [row["trainer"] for row in rows])
    axes.set_ylabel("supervised, on as many images = 1")
    axes.legend(ncols=3, loc="upper left")
    axes.margins(y=0.2)
    figure.savefig(folder / "cost.png", dpi=120)


if __name__ == "__main__":
    INNER = {"peak": peak, "growth": growth, "unlabeled": unlabeled}
    fire.Fire(INNER if sys.argv[1:2] and sys.argv[1] in INNER else cost)
