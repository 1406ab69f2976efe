# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sized

from torch import nn
from torch.optim import Optimizer

from monai_gmcl.engines.real_batch import RealBatch
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import Hypergradient

__all__ = ["check_extra_inputs", "check_intervals", "check_trained"]


def check_trained(names: Sized, optimizer: Optimizer, network: nn.Module, role: str = "optimizer") -> None:
    """Raise where an optimizer trains nothing of its network, such as after one of both was replaced.

    Args:
        names: those of the network's parameters that the optimizer trains.
        optimizer: the student's, or the teacher's.
        network: the student, or the teacher.
        role: the argument's name.

    Raises:
        ConfigurationError: naming both.
    """
    if len(names) == 0:
        raise ConfigurationError(
            f"{role}: {type(optimizer).__name__} trains no parameter of {type(network).__name__}. Make it from that "
            "network's parameters()."
        )


def check_extra_inputs(real: RealBatch, teacher: nn.Module) -> None:
    """Raise where the student needs inputs beside the images, and lessons have no sources to take them from.

    Raises:
        ConfigurationError: ``prepare_batch`` gives args or kwargs, and the teacher makes images from nothing.
    """
    if (real.args or real.kwargs) and not getattr(teacher, "needs_images", True):
        names = ", ".join([*(f"args[{i}]" for i in range(len(real.args))), *real.kwargs])
        raise ConfigurationError(
            f"prepare_batch gives the network extra inputs ({names}), which a lesson takes from the images that it is "
            f"made of; {type(teacher).__name__} makes its images from nothing. Use a teacher that changes images, "
            "such as PolicyTeacher."
        )


def check_intervals(hypergradient: Hypergradient, teacher_interval: int, accumulation_steps: int, amp: bool) -> None:
    """Raise where the estimator could not hear lessons that are set as often as this.

    Args:
        hypergradient: the teacher's estimator.
        teacher_interval: student steps per teacher step.
        accumulation_steps: micro-batches per student step.
        amp: whether the student trains with mixed precision.

    Raises:
        ConfigurationError: arguments that do not go together, or are less than 1.
    """
    for argument, value in (("accumulation_steps", accumulation_steps), ("teacher_interval", teacher_interval)):
        if value < 1:
            raise ConfigurationError(f"{argument} must be a positive integer, got {value!r}.")
    name, lookback = type(hypergradient).__name__, hypergradient.lookback
    if lookback > teacher_interval:
        raise ConfigurationError(
            f"{name} looks back over {lookback} lessons while the teacher stands still: teacher_interval must be at "
            f"least {lookback}, got {teacher_interval}."
        )
    if hypergradient.needs_real_step and (accumulation_steps > 1 or amp):
        raise ConfigurationError(
            f"{name} takes the student's steps once more: it works with accumulation_steps=1 and amp=False, got "
            f"{accumulation_steps} and {amp}."
        )
