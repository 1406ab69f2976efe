# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl import ConfidenceWeighting, Lesson
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.lesson import LessonGraph


def lesson(confidence: list[float] | None) -> Lesson:
    made = Lesson(
        sources=None, labels=torch.tensor([0, 1, 1]), latents=torch.zeros(3, 1), image_shape=(3, 1, 2, 2),
        difficulty=1.0, lesson_weight=1.0, parameters={}, buffers={}, seed=0,
        confidence=None if confidence is None else torch.tensor(confidence),
    )  # fmt: skip
    losses = torch.rand(3)
    made.graph = LessonGraph(losses, losses, losses, losses, None, lambda *_: losses)
    return made


def test_only_sure_labels_count() -> None:
    assert ConfidenceWeighting(0.5)(lesson([1.0, 0.5, 0.49]), {}, {}).tolist() == [1.0, 1.0, 0.0]


def test_given_labels_always_count() -> None:
    assert ConfidenceWeighting(0.9)(lesson(None), {}, {}).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ConfigurationError, match=f"threshold must be from 0 to 1, got {threshold}"):
        ConfidenceWeighting(threshold)
