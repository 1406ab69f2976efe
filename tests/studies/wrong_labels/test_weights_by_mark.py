# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from studies.wrong_labels.weights_by_mark import WeightsByMark


def lesson_of(sources: torch.Tensor, weights: torch.Tensor) -> Any:
    return SimpleNamespace(sources=sources, weights=weights)


def test_weights_are_kept_with_the_marks_of_the_images_that_lessons_are_made_from() -> None:
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    watched = WeightsByMark()
    watched.know(images[:4], torch.tensor([0, 1, 0, 1]))
    watched.observe(lesson_of(images[[5, 3, 0, 1]], torch.tensor([9.0, 1.0, 2.0, 3.0])))
    ((marks, weights),) = watched.seen
    assert marks.tolist() == [1, 0, 1] and weights.tolist() == [1.0, 2.0, 3.0]


def test_weights_that_follow_the_marks_tell_them_apart_after_the_first_quarter() -> None:
    marks = torch.tensor([0, 0, 1, 1])
    watched = WeightsByMark()
    watched.seen = [(marks, 1 - marks.float()), *[(marks, marks.float())] * 3]
    assert watched.told_apart() == 1.0
