# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What an arm of a comparison is: one small-data method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.engines.trainer import Trainer

from monai_gmcl.benchmark.data_sets import Images
from monai_gmcl.benchmark.student_run import Setup, StudentRun

__all__ = ["Arm"]


@dataclass(frozen=True)
class Arm:
    """One small-data method of a comparison.

    Attributes:
        title: as the report calls it.
        build: makes the trainer.
        equal_compute: whether the arm gets as many steps as cost the FLOPs of a GMCL run. Other arms get GMCL's steps.
        tuned: whether its augmentation has a strength to be tuned on validation
            (:data:`monai_gmcl.benchmark.arms.STRENGTHS`).
        unlabeled: whether it reads unlabeled images.
        share: of GMCL's steps, where the compute is not equal.
        tolerance: AUC, or Dice, on the choosing images that a lower strength may lack to be chosen all the same.
        synthetic: what the row says of the arm's synthetic images: called after the run with the run, held-out images
            and the path of a picture, which it may draw. GMCL needs none: its lessons are measured anyway.
    """

    title: str
    build: Callable[[Setup], Trainer]
    equal_compute: bool = True
    tuned: bool = False
    unlabeled: bool = False
    share: float = 1.0
    tolerance: float = 0.0
    synthetic: Callable[[StudentRun, Images, Path], dict[str, Any]] | None = None
