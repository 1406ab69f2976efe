# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Steps of GMCL on a GPU in which a wait of the host is an error: ``python -m studies.cost.no_waiting``."""

from __future__ import annotations

from functools import partial
from typing import Any

import fire
import torch
from ignite.engine import Events
from monai.networks.nets.resnet import resnet18
from torch import nn

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.late_reading import STEPS
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["no_waiting"]

ADAM, SGD, FUSED = torch.optim.Adam, torch.optim.SGD, partial(torch.optim.Adam, fused=True)
CASES = {
    "Adam, float32": (ADAM, None, False),
    "Adam, bfloat16": (ADAM, torch.bfloat16, False),
    "SGD, float32": (SGD, None, False),
    "Adam fused, float16": (FUSED, torch.float16, False),
    "Adam, float32, unlabeled images": (ADAM, None, True),
}


def no_waiting(steps: int = 50, size: int = 96, batch: int = 64) -> None:
    """Print for some optimizers and precisions, and with unlabeled images, in how many steps the host did not wait.

    ``torch.cuda.set_sync_debug_mode("error")`` ends the run where it waits. The first ten steps are not watched, nor
    are those in which the device is read: every tenth, and the last of the epoch. In float16 torch's ``GradScaler``
    itself reads the device in each step, unless the optimizer is fused.

    Args:
        steps: watched, among those in which the device is read.
        size: side of the images, in pixels.
        batch: real images in a step.

    Raises:
        ConfigurationError: there is no GPU.
        RuntimeError: the host waited; the traceback tells where.
    """
    if not torch.cuda.is_available():
        raise ConfigurationError(
            "no_waiting: expected a GPU, torch.cuda.is_available() is False. python -m monai_gmcl check CONFIG "
            "--cost true counts the same on a pretended device."
        )
    for name, (optimizer, dtype, unlabeled) in CASES.items():
        watched = _watched_steps(optimizer, dtype, unlabeled, steps, size, batch)
        print(f"{name}: no wait in {watched} of {steps} steps", flush=True)


def _watched_steps(
    optimizer: Any, dtype: torch.dtype | None, unlabeled: bool, steps: int, size: int, batch: int
) -> int:
    torch.manual_seed(0)
    network = resnet18(spatial_dims=2, n_input_channels=3, num_classes=2).cuda()
    teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2).cuda()
    images, labels = torch.rand(batch, 3, size, size).pin_memory(), (torch.arange(batch) % 2).pin_memory()
    trainer = GMCLTrainer(
        device="cuda",
        max_epochs=1,
        train_data_loader=[(images, labels)] * (STEPS + steps),
        network=network,
        optimizer=optimizer(network.parameters(), lr=1e-3),
        loss_function=nn.CrossEntropyLoss(),
        non_blocking=True,
        decollate=False,
        amp=dtype is not None,
        amp_kwargs=None if dtype is None else {"dtype": dtype},
        unlabeled_data_loader=[{"image": images}] if unlabeled else None,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        seed=0,
    )
    watched = 0

    def watch() -> None:
        nonlocal watched
        iteration = trainer.state.iteration
        reads = iteration <= STEPS or iteration % STEPS == 0 or iteration == STEPS + steps
        watched += not reads
        torch.cuda.set_sync_debug_mode("default" if reads else "error")

    trainer.add_event_handler(Events.ITERATION_STARTED, watch)
    try:
        trainer.run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return watched


if __name__ == "__main__":
    fire.Fire(no_waiting)
