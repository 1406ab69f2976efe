# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the host draws, copies and waits for in a step of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ignite.engine import Events

from monai_gmcl.benchmark.host_traffic import HostTraffic
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.late_reading import STEPS

__all__ = ["StepTraffic", "traffic_of_steps", "traffic_table"]

WARM_UP = STEPS
"""Iterations that are not counted: the first has no lesson before it. Of ten that follow, one reads the device."""


@dataclass(frozen=True)
class StepTraffic:
    """What the host drew, copied and waited for in a number of steps, by line of code, on so many real images.

    Attributes:
        without_waiting: in how many of the steps the host waited for nothing of the trainer's own.
    """

    total: HostTraffic
    steps: int
    images: int
    without_waiting: int


def traffic_of_steps(build: Callable[[], GMCLTrainer], steps: int = 10) -> StepTraffic:
    """Train a few steps on a simulated device (:data:`~monai_gmcl.benchmark.host_traffic.DEVICE`) and count.

    ``build``, which is called where the device computes, builds a trainer with all of its networks on it. What the
    loader of real images does is not counted, nor are the first ten steps; the last one ends an epoch.
    """
    traffic, total = HostTraffic(), HostTraffic()
    images = without_waiting = 0
    with traffic.watch():
        trainer = build()

        def count() -> None:
            nonlocal images, without_waiting
            if trainer.state.iteration <= WARM_UP:
                return
            output = trainer.state.output
            images += len(output) if isinstance(output, list) else len(output["label"])
            without_waiting += not traffic.waits
            for name, counter in vars(traffic).items():
                getattr(total, name).update(counter)

        trainer.state.max_epochs, trainer.state.epoch_length = 1, WARM_UP + steps
        trainer.add_event_handler(Events.ITERATION_STARTED, traffic.clear)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, count)
        trainer.run()
    return StepTraffic(total, steps, images, without_waiting)


def traffic_table(traffic: StepTraffic) -> str:
    """Return the counts as text: what comes of which line, each a step."""
    total, per_image = traffic.total, traffic.steps / traffic.images
    lines = [f"{'host':<28}{'per step':>12}{'per image':>12}"]
    parts: list[tuple[str, Counter[str]]] = [
        ("random numbers drawn", total.numbers),
        ("bytes to the device", total.bytes_to_device),
        ("bytes to the host", total.bytes_to_host),
        ("synchronizations", total.waits),
        ("synchronizations elsewhere", total.waits_of_others),
    ]
    for name, counter in parts:
        mean = sum(counter.values()) / traffic.steps
        lines.append(f"{name:<28}{mean:>12.1f}{mean * per_image:>12.2f}")
        lines += [f"    {count / traffic.steps:>12.1f}  {line}" for line, count in counter.most_common()]
    lines.append(f"{traffic.without_waiting} of {traffic.steps} steps have no synchronization")
    return "\n".join(lines)
