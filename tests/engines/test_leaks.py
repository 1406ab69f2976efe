# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events

from monai_gmcl import GMCLTrainer

Build = Callable[..., GMCLTrainer]
GROWTH = 1.02
SETTLED = 500
linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def endless(tensors: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images, labels = tensors(n=20)
    return [(images[i : i + 5], labels[i : i + 5]) for i in range(0, 20, 5)]


def grown(trainer: GMCLTrainer, iterations: int) -> tuple[float, int]:
    """Memory at the end over memory after 500 iterations, and the files opened since."""
    settled: dict[str, int] = {}

    def look() -> None:
        gc.collect()
        settled.update(memory=resident_bytes(), files=open_files())

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=SETTLED), look)
    trainer.run()
    assert trainer.state.iteration == iterations
    gc.collect()
    return resident_bytes() / settled["memory"], open_files() - settled["files"]


@linux
@pytest.mark.parametrize("iterations", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_and_open_files_stay_as_they_are(trainer: Build, tensors: Any, iterations: int) -> None:
    run = trainer(train_data_loader=endless(tensors), epoch_length=100, max_epochs=iterations // 100, decollate=False)
    growth, files = grown(run, iterations)
    assert growth <= GROWTH and files == 0


@pytest.mark.parametrize("unlabeled", [False, True])
def test_fifty_trainers_leave_none_alive(trainer: Build, tensors: Any, unlabeled: bool) -> None:
    alive = []
    for _ in range(50):
        options = {"unlabeled_data_loader": [image for image, _ in endless(tensors)]} if unlabeled else {}
        run = trainer(train_data_loader=endless(tensors)[:2], max_epochs=1, **options)
        run.run()
        alive += [weakref.ref(run), weakref.ref(run.network), weakref.ref(run.teacher)]
        del run
    gc.collect()
    assert not [one for one in alive if one() is not None]
