# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""What checks and saves take of a training: ``python -m studies.cost.safety_cost --data_dir DIR``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import fire
import torch
from monai.data.dataset import CacheDataset
from monai.networks.nets.resnet import ResNet
from torch import nn
from torch.utils.data import DataLoader

from monai_gmcl.data import image_transforms, open_data
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.handlers import CheckpointKeeper
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["safety_cost"]

CHECKS = (
    *(f"monai_gmcl.engines.trainer.check_{what}" for what in ("images", "loss")),
    "monai_gmcl.engines.look_ahead.check_lesson",
    *(f"monai_gmcl.tasks.Classification.check{what}" for what in ("_labels", "_outputs", "")),
    "monai_gmcl.engines.teacher_step.check_generated",
    "monai_gmcl.engines.student_step.StudentStep._check_gradient",
)


def safety_cost(
    data_dir: str, n: int = 500, size: int = 96, channels: int = 3, epochs: int = 6, batch: int = 32
) -> None:
    """Print what share of a training with GMCL its checks of every step and a checkpoint after each epoch take.

    The benchmark's small student, one thread, images in memory.

    Args:
        data_dir: class folders.
        n: images.
        size: their side.
        channels: of the images.
        epochs: of the training.
        batch: real images in an iteration.

    Raises:
        DataError: nothing to read.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = open_data(data_dir)
    step = max(1, len(data.training) // n)
    images = CacheDataset(data.training[::step][:n], image_transforms(2, channels, size=size), progress=False)
    network = ResNet(
        *("basic", [1, 1, 1, 1], [8, 16, 32, 64]), 2, channels, num_classes=data.num_classes, conv1_t_size=3
    )
    teacher = PolicyTeacher(2, channels, data.num_classes)
    seconds = {"checks": 0.0, "checkpoints": 0.0}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as timed:
        for path in CHECKS:
            timed.enter_context(_timed(path, seconds, "checks"))
        timed.enter_context(_timed("monai_gmcl.handlers.CheckpointKeeper.save", seconds, "checkpoints"))
        trainer = GMCLTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=DataLoader(images, batch_size=batch, shuffle=True),
            network=network,
            optimizer=torch.optim.AdamW(network.parameters(), lr=2e-3),
            loss_function=nn.CrossEntropyLoss(),
            teacher=teacher,
            teacher_optimizer=teacher.optimizer(),
            train_handlers=[CheckpointKeeper(folder)],
        )
        begin = time.perf_counter()
        trainer.run()
        whole = time.perf_counter() - begin
    each = ", ".join(f"{name} {taken / whole:.2%}" for name, taken in seconds.items())
    print(f"{len(images)} images of {size} x {size}, {epochs} epochs, {whole:.1f} s: {each}")


@contextmanager
def _timed(path: str, seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add up the seconds that a function takes, which its dotted path names."""
    function: Callable[..., Any] = resolve_name(path)

    def clocked(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - begin

    with patch(path, clocked):
        yield


if __name__ == "__main__":
    fire.Fire(safety_cost)
