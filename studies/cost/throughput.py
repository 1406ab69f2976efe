# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images per second and peak memory of each trainer on one device.

Run: ``python -m studies.cost.throughput --device cuda``.

On CUDA in float16 with a loss scale, because that is what ``amp=True`` means to ``SupervisedTrainer``, and with a fused
optimizer, for whose steps no host waits; on the CPU in float32. ``GanTrainer`` knows no mixed precision: its networks
are called in the same autocast, without a loss scale.
"""

from __future__ import annotations

import gc
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import fire
import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.networks.nets.resnet import resnet18
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers import PolicyTeacher
from studies.proof.gan_networks import ConditionalGenerator, ProjectionDiscriminator
from studies.proof.gan_training import GanOptions, gan_trainer

__all__ = ["throughput"]

INTERVALS = {"GMCL, teacher every iteration": 1, "GMCL, teacher every 4th": 4}
SUPERVISED, GAN = "supervised", "GAN stage"
TRAINERS = (SUPERVISED, *INTERVALS, GAN)
DISTINCT = 4
"""Batches that differ; they come again and again, so that memory does not grow with the iterations."""


@dataclass
class _Row:
    rates: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)
    failure: str = ""


def throughput(
    device: str = "cuda", size: int = 96, batch: int = 256, iterations: int = 60, warm_up: int = 10, rounds: int = 3
) -> None:
    """Print real images per second and peak memory of each trainer, relative to SupervisedTrainer.

    MONAI's ResNet18 on random RGB images that lie on the device already. A trainer that fails has its error in its row.

    Args:
        device: such as ``cuda`` or ``cpu``.
        size: side of the images, in pixels.
        batch: real images in an iteration; a lesson has as many beside them, and so has what the GAN generates.
        iterations: that are timed, in each round.
        warm_up: iterations before those.
        rounds: in which the trainers take turns; medians count.

    Raises:
        ConfigurationError: no iteration to time, or none before.
    """
    if iterations < 1 or warm_up < 1:
        raise ConfigurationError(
            f"throughput: expected at least one iteration and one to warm up, got {iterations} and {warm_up}."
        )
    place = torch.device(device)
    batches = _batches(place, size, batch)
    rows = {name: _Row() for name in TRAINERS}
    for number in range(1, rounds + 1):
        for name, row in rows.items():
            if row.failure:
                continue
            try:
                rate, mebibytes = _measure(name, place, batches, iterations, warm_up)
            # One that fails must not take what the others measure with it: time on a device may be lent.
            except Exception as error:
                row.failure = f"{type(error).__name__}: {error}".splitlines()[0]
                print(f"round {number}, {name}: {row.failure}", flush=True)
                continue
            row.rates.append(rate)
            row.mebibytes.append(mebibytes)
            print(f"round {number}, {name}: {rate:.1f} images/s", flush=True)
    model = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    precision = str(torch.get_autocast_dtype("cuda")) if place.type == "cuda" else str(torch.float32)
    print(f"\n{model}, torch {torch.__version__}, {precision}")
    print(f"MONAI resnet18, 3 x {size} x {size}, B = {batch}, {iterations} iterations, {rounds} rounds")
    print(f"{'trainer':<32}{'images/s':>10}{'ratio':>8}{'time':>8}{'MiB':>9}   (rounds)")
    for name, row in rows.items():
        print(_line(name, row, rows[SUPERVISED]))
    print("images/s: real ones; ratio, and time of an image: to supervised; MiB: peak beyond the batches")


def _line(name: str, row: _Row, base: _Row) -> str:
    if row.failure:
        return f"{name:<32}failed: {row.failure}"
    # Of the same round: what slows the device down for a while slows both.
    ratios = [own / other for own, other in zip(row.rates, base.rates, strict=False)]
    ratio = statistics.median(ratios) if ratios else float("nan")
    memory = statistics.median(row.mebibytes)
    told = f"{memory:>9.0f}" if memory == memory else f"{'-':>9}"
    spread = f"{min(row.rates):.0f}-{max(row.rates):.0f}"
    return f"{name:<32}{statistics.median(row.rates):>10.1f}{ratio:>8.2f}{1 / ratio:>8.2f}{told}   ({spread})"


def _batches(device: torch.device, size: int, batch: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    # As loaders give them: labels that only the device has are waited for in each step.
    labels = torch.arange(batch) % 2
    return [(torch.rand(batch, 3, size, size, generator=generator).to(device), labels) for _ in range(DISTINCT)]


def _measure(
    name: str, device: torch.device, batches: list[tuple[Tensor, Tensor]], iterations: int, warm_up: int
) -> tuple[float, float]:
    """Return images per second and the peak memory in MiB beyond the batches; NaN on the CPU."""
    # An engine and its handlers are a cycle: without a collection the last trainer's memory would count.
    gc.collect()
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if cuda else 0
    todo = [batches[i % len(batches)] for i in range(warm_up + iterations)]
    trainer = _trainer(name, device, todo)
    begun: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=warm_up), lambda: begun.append(_now(device)))
    trainer.run()
    rate = len(todo[0][0]) * iterations / (_now(device) - begun[0])
    peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if cuda else float("nan")
    return rate, peak


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _trainer(name: str, device: torch.device, batches: list[tuple[Tensor, Tensor]]) -> Trainer:
    torch.manual_seed(0)
    if name == GAN:
        return _gan(device, batches)
    network = resnet18(spatial_dims=2, n_input_channels=3, num_classes=2).to(device)
    shared: dict[str, Any] = {
        "device": device,
        "max_epochs": 1,
        "train_data_loader": batches,
        "network": network,
        "optimizer": torch.optim.AdamW(network.parameters(), lr=1e-3, fused=device.type == "cuda"),
        "loss_function": nn.CrossEntropyLoss(),
        "decollate": False,
        "non_blocking": True,
        "amp": device.type == "cuda",
    }
    if name == SUPERVISED:
        return SupervisedTrainer(**shared)
    teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2).to(device)
    return GMCLTrainer(
        **shared,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        teacher_interval=INTERVALS[name],
    )


def _gan(device: torch.device, batches: list[tuple[Tensor, Tensor]]) -> Trainer:
    images, labels = batches[0]
    labels = labels.to(device)
    batches = [(of_batch, labels) for of_batch, _ in batches]
    options = GanOptions(batch=len(images))
    shape = tuple(images.shape[1:])
    generator = ConditionalGenerator(shape, 2, options.channels).to(device)
    discriminator = ProjectionDiscriminator(shape, 2, options.channels).to(device)
    # GanTrainer takes nothing but a DataLoader; without a batch size it hands over what lies in the list.
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(device.type) if device.type == "cuda" else nullcontext()

    return gan_trainer(generator, discriminator, loader, labels, 0, options, device, autocast)


if __name__ == "__main__":
    fire.Fire(throughput)
