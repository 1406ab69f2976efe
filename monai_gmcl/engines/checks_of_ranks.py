# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import FiniteDifferenceHypergradient, HeadHypergradient, Hypergradient
from monai_gmcl.ranks import Ranks

__all__ = ["check_epoch_lengths", "check_ranks"]


def check_ranks(
    ranks: Ranks,
    student: nn.Module,
    teacher: nn.Module,
    hypergradient: Hypergradient | None,
    weighing: Hypergradient | None,
) -> None:
    """Raise where several ranks would not train what one process trains.

    Args:
        ranks: the processes.
        student: as the user gave it.
        teacher: as the user gave it.
        hypergradient: the estimator that the teacher hears by, if it learns.
        weighing: the estimator that lessons are weighed by, if they are.

    Raises:
        ConfigurationError: a wrapped teacher, or an estimator that cannot look into other ranks.
    """
    if ranks.alone:
        return
    if isinstance(teacher, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise ConfigurationError(
            f"Expected the teacher itself, got it in {type(teacher).__name__}: GMCLTrainer averages its gradient."
        )
    for estimator in (hypergradient, weighing):
        if estimator is not None and estimator.needs_real_step:
            raise ConfigurationError(
                f"{type(estimator).__name__} takes the student's steps once more, and would need the lessons of all "
                f"{ranks.size} ranks for it. Use HeadHypergradient or ExactHypergradient, or one process."
            )
    if not any(isinstance(module, nn.SyncBatchNorm) for module in student.modules()):
        return
    # A difference of losses needs no way back through its own pass.
    for estimator, able in (
        (hypergradient, HeadHypergradient),
        (weighing, HeadHypergradient | FiniteDifferenceHypergradient),
    ):
        if estimator is not None and not isinstance(estimator, able):
            raise ConfigurationError(
                f"{type(estimator).__name__} differentiates through the whole student, which SyncBatchNorm does not "
                "support a second time. Use HeadHypergradient, or BatchNorm."
            )


def check_epoch_lengths(ranks: Ranks, epoch_length: int | None) -> None:
    """Raise unless all ranks have as many batches in an epoch: they would wait for each other for ever.

    Raises:
        ConfigurationError: with the number of each rank.
    """
    lengths = ranks.joined(torch.tensor([-1 if epoch_length is None else epoch_length])).tolist()
    if len(set(lengths)) > 1:
        raise ConfigurationError(
            f"Expected as many batches in an epoch on every rank, got {', '.join(map(str, lengths))}. "
            "monai.data.partition_dataset(..., even_divisible=True) or a DistributedSampler gives that."
        )
