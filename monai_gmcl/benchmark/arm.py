# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""An arm: one method of a comparison."""

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
    """One method of a comparison of small-data methods.

    Attributes:
        title: name in the report.
        build: function that builds the trainer.
        equal_compute: whether the arm gets as many steps as cost the FLOPs of a GMCL run. Other arms get GMCL's steps.
        tuned: whether its augmentation has a strength to be tuned on validation
            (:data:`monai_gmcl.benchmark.arms.STRENGTHS`).
        unlabeled: whether the arm uses unlabeled images.
        share: number of steps as a fraction of GMCL's steps, if the compute is not equal.
        tolerance: the lowest strength is chosen whose validation AUC, or Dice, is below the best one by at most this
            value.
        synthetic: function that measures the arm's synthetic images. It is called after the run with the run, held-out
            images and the path of a picture, which it may draw. GMCL needs none, because its lessons are always
            measured.
    """

    title: str
    build: Callable[[Setup], Trainer]
    equal_compute: bool = True
    tuned: bool = False
    unlabeled: bool = False
    share: float = 1.0
    tolerance: float = 0.0
    synthetic: Callable[[StudentRun, Images, Path], dict[str, Any]] | None = None
