# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""What several ranks do in the time of one: ``python -m studies.cost.scaling``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire
import torch
import torch.distributed as dist
from ignite.engine import Events
from torch.utils.data import DataLoader, TensorDataset

from monai_gmcl.exceptions import ConfigurationError
from studies.cost.resnet_trainer import resnet_trainer

__all__ = ["scaling"]


def scaling(ranks: int = 2, batch: int = 16, size: int = 96, iterations: int = 8, runs: int = 3) -> None:
    """Print the images per second of one and of several processes with one thread each, and their ratio.

    MONAI's ResNet18 with Head on CPUs (gloo); each rank has ``batch`` real images and a lesson of as many. Give each
    rank a core of its own, and nothing else to do.

    Args:
        ranks: how many processes, at least 2.
        batch: real images of each rank.
        size: side of the images.
        iterations: of each run; the first two are not timed.
        runs: interleaved runs, of which the median counts.

    Raises:
        ConfigurationError: fewer than two ranks, or three iterations.
    """
    if ranks < 2 or iterations < 4:
        raise ConfigurationError(f"scaling: expected at least 2 ranks and 4 iterations, got {ranks} and {iterations}.")
    found: dict[int, list[float]] = {1: [], ranks: []}
    for _ in range(runs):
        for count, rates in found.items():
            rates.append(count * batch / _seconds(count, batch, size, iterations))
    one, several = (statistics.median(rates) for rates in found.values())
    print(f"1 process: {one:.1f} real images/s; {ranks}: {several:.1f}; {several / one:.2f} times")


def _seconds(ranks: int, batch: int, size: int, iterations: int) -> float:
    """Return the median time of an iteration."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "studies.cost.scaling", "rank", f"{folder}/group"]
        arguments = [[str(index), *map(str, (ranks, batch, size, iterations))] for index in range(ranks)]
        running = [subprocess.Popen([*command, *of_rank], stdout=subprocess.PIPE, text=True) for of_rank in arguments]
        said = [process.communicate()[0] for process in running]
        for process in running:
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, process.args)
        return max(float(text.strip().splitlines()[-1]) for text in said)


def rank(group: str, index: int, ranks: int, batch: int, size: int, iterations: int) -> None:
    """Train as one of the ranks, and print the median time of an iteration in seconds."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=Path(group).as_uri(), rank=index, world_size=ranks)
    torch.manual_seed(0)
    data = TensorDataset(torch.rand(2 * batch, 3, size, size), torch.arange(2 * batch) % 2)
    trainer = resnet_trainer(DataLoader(data, batch_size=batch), 3, 2, iterations)
    stamps: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: stamps.append(time.perf_counter()))
    trainer.run()
    dist.destroy_process_group()
    print(statistics.median(after - before for before, after in zip(stamps[1:-1], stamps[2:], strict=True)))


if __name__ == "__main__":
    fire.Fire({"rank": rank} if sys.argv[1:2] == ["rank"] else scaling)
