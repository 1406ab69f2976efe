# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arm of those who have a trained teacher already: a supervised pipeline with the teacher as a transform."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.transforms.compose import Compose

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.transforms import RandTeacherAugment

__all__ = ["reused_teacher"]

PROBABILITY = 0.5
"""Of a synthetic image: a GMCL step has as many of them as real ones."""
LENGTH = 0.4
"""Steps of the first run in units of the second's: about those of arm ``gmcl`` where the second has its compute."""


def reused_teacher(
    gmcl: Callable[[Setup], Trainer], augmentation: Callable[[DataOptions], Compose]
) -> Callable[[Setup], Trainer]:
    """Return the builder of a ``SupervisedTrainer`` whose images pass through a trained teacher.

    A run of GMCL on the same labeled images trains the teacher and throws its student away. Its cost goes to
    ``setup.spent``. The transform's difficulty is the one at which that run ended.

    Args:
        gmcl: builds the trainer of the first run.
        augmentation: of one image, before the teacher.
    """

    def build(setup: Setup) -> Trainer:
        assert setup.choosing is not None
        steps = max(1, round(LENGTH * setup.steps))
        own = setup.options, setup.labeled, setup.choosing, setup.seed, steps
        first = StudentRun(gmcl, *own, device=setup.device)
        first.run()
        for name in setup.spent:
            setup.spent[name] += first.cost[name]
        assert isinstance(first.trainer, GMCLTrainer)
        reuse = RandTeacherAugment(
            first.trainer.teacher.cpu(), PROBABILITY, first.trainer.state.curriculum["difficulty"]
        )
        # So that the student sees the same order whatever the first run drew.
        torch.manual_seed(setup.seed)
        return SupervisedTrainer(**setup.arguments(Compose([*augmentation(setup.options).transforms, reuse])))

    return build
