# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monai.engines.trainer import Trainer

from monai_gmcl.benchmark.student_run import Setup

__all__ = ["Arm"]


@dataclass(frozen=True)
class Arm:
    """One way to stretch a small labeled set.

    Attributes:
        title: as the report calls it.
        build: makes the trainer.
        equal_compute: whether the arm gets as many steps as the FLOPs of a GMCL run buy; the others take GMCL's steps.
        tuned: whether its augmentation has a strength to be tuned on validation
            (:data:`monai_gmcl.benchmark.arms.STRENGTHS`).
        unlabeled: whether it reads unlabeled images.
        share: of GMCL's steps, where the compute is not equal.
        tolerance: AUC on the choosing images that a lower strength may lack to be chosen all the same.
    """

    title: str
    build: Callable[[Setup], Trainer]
    equal_compute: bool = True
    tuned: bool = False
    unlabeled: bool = False
    share: float = 1.0
    tolerance: float = 0.0
