# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""User and system time of a step, which depend on the allocator: ``python -m studies.cost.allocator head``."""

from __future__ import annotations

import os
import resource

import fire
import torch
from ignite.engine import Events

from studies.cost.cost import _Settings, _trainer

__all__ = ["allocator"]

WARM_UP = 2


def allocator(kind: str = "head", network: str = "resnet18", batch: int = 16, size: int = 96, steps: int = 4) -> None:
    """Print user and system time of a step on the CPU, and the peak resident set; set ``MALLOC_...`` before Python.

    Args:
        kind: ``supervised``, on twice the images, or an estimator of ``studies.cost.cost``.
        network: of MONAI, ``resnet18``, ``densenet121`` or ``unet``, which segments.
        batch: real images in a step.
        size: side of the images, in pixels.
        steps: that are timed, after two others.
    """
    torch.set_num_threads(1)
    trainer = _trainer(kind, _Settings(network, batch, size, WARM_UP + steps, 3, 2))
    marks: list[os.times_result] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: marks.append(os.times()))
    trainer.run()
    first, last = marks[WARM_UP - 1], marks[-1]
    user, system = (last.user - first.user) / steps, (last.system - first.system) / steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    share = system / (user + system)
    print(f"{kind}: user {user:.3f} s, system {system:.3f} s ({share:.1%} of both), peak {peak:.0f} MiB")


if __name__ == "__main__":
    fire.Fire(allocator)
