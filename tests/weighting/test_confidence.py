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

import pytest
import torch

from monai_gmcl import ConfidenceWeighting, Lesson
from monai_gmcl.exceptions import ConfigurationError


def lesson(confidence: list[float] | None) -> Lesson:
    made = Lesson(
        sources=None, labels=torch.tensor([0, 1, 1]), latents=torch.zeros(3, 1), image_shape=(3, 1, 2, 2),
        difficulty=1.0, lesson_weight=1.0, parameters={}, buffers={}, seed=0,
        confidence=None if confidence is None else torch.tensor(confidence),
    )  # fmt: skip
    made.losses = torch.rand(3)
    return made


def test_only_sure_labels_count() -> None:
    assert ConfidenceWeighting(0.5)(lesson([1.0, 0.5, 0.49]), {}, {}).tolist() == [1.0, 1.0, 0.0]


def test_given_labels_always_count() -> None:
    assert ConfidenceWeighting(0.9)(lesson(None), {}, {}).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ConfigurationError, match=f"threshold must be from 0 to 1, got {threshold}"):
        ConfidenceWeighting(threshold)
