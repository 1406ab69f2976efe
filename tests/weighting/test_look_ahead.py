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

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from monai_gmcl import Hypergradient, Lesson, LookAheadWeighting


class Told(Hypergradient):
    """Answers what it was told, and notes the update that it was asked with."""

    def __init__(self, *worth: float) -> None:
        self.told = torch.tensor(worth)
        self.updates: list[Mapping[str, Tensor]] = []

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        raise AssertionError("weights need no hypergradient")

    def worth(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        self.updates.append(lesson.update)
        return self.told


@pytest.fixture
def lesson() -> Lesson:
    made = Lesson(
        sources=None, labels=torch.tensor([0, 1, 0, 1]), latents=torch.zeros(4, 1), image_shape=(4, 1, 2, 2),
        difficulty=1.0, lesson_weight=1.0, parameters={}, buffers={}, seed=0,
    )  # fmt: skip
    made.losses = torch.rand(4)
    return made


A = {"head.weight": torch.ones(2)}


def test_images_that_help_share_the_weight_of_all(lesson: Lesson) -> None:
    weights = LookAheadWeighting(Told(1.0, -5.0, 3.0, 0.0))(lesson, {}, A)
    assert weights.tolist() == [1.0, 0.0, 3.0, 0.0]


def test_a_lesson_in_which_nothing_helps_weighs_nothing(lesson: Lesson) -> None:
    assert LookAheadWeighting(Told(-1.0, -2.0, 0.0, -1.0))(lesson, {}, A).tolist() == [0.0] * 4


def test_before_the_first_step_all_weigh_the_same(lesson: Lesson) -> None:
    estimator = Told(1.0, -5.0, 3.0, 0.0)
    assert LookAheadWeighting(estimator)(lesson, {}, {}).tolist() == [1.0] * 4 and not estimator.updates


def test_the_step_that_was_taken_last_is_looked_ahead_by(lesson: Lesson) -> None:
    estimator = Told(1.0, 1.0, 1.0, 1.0)
    LookAheadWeighting(estimator)(lesson, {}, A)
    assert estimator.updates == [A] and not lesson.update
