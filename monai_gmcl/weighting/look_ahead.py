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

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from monai_gmcl.hypergradients import HeadHypergradient, Hypergradient
from monai_gmcl.lesson import Lesson
from monai_gmcl.ranks import Ranks
from monai_gmcl.weighting.base import LessonWeighting

__all__ = ["LookAheadWeighting"]


class LookAheadWeighting(LessonWeighting):
    """Images count by how much learning from them would help the student on real images.

    With sᵢ, the inner product of image i's gradient and the look-ahead gradient v taken through the optimizer's step::

        ωᵢ = max(sᵢ, 0) / mean_j max(s_j, 0)

    -(w/n)·sᵢ is the derivative of the look-ahead loss by ωᵢ: an image whose gradient opposes that of the real images is
    left out. Weights average to 1 over the lessons of all ranks, or are all 0 where no image helps. v is this
    iteration's real gradient (or the meta batch's) and A that of the previous step, so that the weights are known
    before the step that they weigh. The rule is that of Ren et al., ICML 2018 (arXiv 1803.09050), which takes a plain
    gradient step.

    Args:
        hypergradient: the estimator of sᵢ. Default: :class:`HeadHypergradient`, in closed form.
    """

    def __init__(self, hypergradient: Hypergradient | None = None) -> None:
        self.hypergradient: Hypergradient = HeadHypergradient() if hypergradient is None else hypergradient

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        assert lesson.losses is not None
        if not update:
            # Before the first step nothing is known.
            return torch.ones_like(lesson.losses)
        helpful = self.hypergradient.worth(replace(lesson, update=dict(update)), look_ahead).clamp_min(0)
        mean = Ranks().joined(helpful).mean()
        return helpful / mean if mean > 0 else torch.zeros_like(helpful)
