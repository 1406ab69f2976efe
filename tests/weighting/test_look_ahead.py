# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from monai_gmcl import FiniteDifferenceHypergradient, Hypergradient, Lesson, LookAheadWeighting, UniformWeighting
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.lesson import LessonGraph


class Told(Hypergradient):
    """Answers what it was told, and notes the update that it was asked with."""

    def __init__(self, *worth: float) -> None:
        self.told = torch.tensor(worth)
        self.updates: list[Mapping[str, Tensor]] = []
        self.look_aheads: list[Mapping[str, Tensor]] = []

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        raise AssertionError("weights need no hypergradient")

    def image_scores(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        self.updates.append(lesson.update)
        self.look_aheads.append(look_ahead)
        return self.told


@pytest.fixture
def lesson() -> Lesson:
    made = Lesson(
        sources=None, labels=torch.tensor([0, 1, 0, 1]), latents=torch.zeros(4, 1), image_shape=(4, 1, 2, 2),
        difficulty=1.0, lesson_weight=1.0, parameters={}, buffers={}, seed=0,
    )  # fmt: skip
    losses = torch.rand(4)
    made.graph = LessonGraph(losses, losses, losses, losses, None, lambda *_: losses)
    return made


A = {"head.weight": torch.ones(2)}


def test_images_that_help_share_the_weight_of_all_and_where_none_does_a_lesson_weighs_nothing(lesson: Lesson) -> None:
    assert LookAheadWeighting(Told(1.0, -5.0, 3.0, 0.0))(lesson, {}, A).tolist() == [1.0, 0.0, 3.0, 0.0]
    assert LookAheadWeighting(Told(-1.0, -2.0, 0.0, -1.0))(lesson, {}, A).tolist() == [0.0] * 4


def test_before_the_first_step_all_weigh_the_same(lesson: Lesson) -> None:
    estimator = Told(1.0, -5.0, 3.0, 0.0)
    assert LookAheadWeighting(estimator)(lesson, {}, {}).tolist() == [1.0] * 4 and not estimator.updates


def test_the_step_that_was_taken_last_is_looked_ahead_by(lesson: Lesson) -> None:
    estimator = Told(1.0, 1.0, 1.0, 1.0)
    LookAheadWeighting(estimator)(lesson, {}, A)
    assert estimator.updates == [A] and not lesson.update


@pytest.fixture
def estimator() -> Told:
    return Told(1.0, 1.0, 1.0, 1.0)


def gradient(*values: float) -> dict[str, Tensor]:
    return {"head.weight": torch.tensor(values), "body.weight": torch.ones(3)}


@pytest.mark.parametrize(("memory", "second"), [(0.75, [2.0, 1.0]), (0, [5.0, 4.0])])
def test_the_look_ahead_gradient_is_averaged_over_steps_where_it_is_read(
    memory: float, second: list[float], lesson: Lesson, estimator: Told
) -> None:
    weighting = LookAheadWeighting(estimator, memory=memory)
    for values in ((1.0, 0.0), (5.0, 4.0)):
        weighting(lesson, gradient(*values), A)
    assert [list(v) for v in estimator.look_aheads] == [["head.weight"]] * 2
    assert [v["head.weight"].tolist() for v in estimator.look_aheads] == [[1.0, 0.0], second]


def test_the_average_is_not_changed_by_what_becomes_of_a_gradient(lesson: Lesson, estimator: Told) -> None:
    weighting, given = LookAheadWeighting(estimator, memory=0.5), gradient(2.0, 2.0)
    weighting(lesson, given, A)
    given["head.weight"].zero_()
    weighting(lesson, gradient(0.0, 0.0), A)
    assert estimator.look_aheads[1]["head.weight"].tolist() == [1.0, 1.0]


def test_a_gradient_that_overflowed_weighs_nothing_and_is_forgotten(lesson: Lesson, estimator: Told) -> None:
    weighting = LookAheadWeighting(estimator, memory=0.5)
    weighting(lesson, gradient(2.0, 2.0), A)
    assert weighting(lesson, gradient(float("inf"), 0.0), A).tolist() == [0.0] * 4
    weighting(lesson, gradient(0.0, 0.0), A)
    assert estimator.look_aheads[-1]["head.weight"].tolist() == [1.0, 1.0]


def test_the_average_is_saved_and_goes_on(lesson: Lesson, estimator: Told) -> None:
    weighting = LookAheadWeighting(estimator, memory=0.5)
    weighting(lesson, gradient(2.0, 2.0), A)
    saved = weighting.state_dict()
    weighting(lesson, gradient(0.0, 0.0), A)
    other = LookAheadWeighting(estimator, memory=0.5)
    other.load_state_dict(saved, torch.device("cpu"))
    other(lesson, gradient(0.0, 0.0), A)
    assert estimator.look_aheads[-1]["head.weight"].tolist() == [1.0, 1.0]


def test_a_run_that_was_weighed_otherwise_goes_on(lesson: Lesson, estimator: Told) -> None:
    weighting = LookAheadWeighting(estimator)
    weighting.load_state_dict(UniformWeighting().state_dict(), torch.device("cpu"))
    weighting(lesson, gradient(2.0, 1.0), A)
    assert estimator.look_aheads[-1]["head.weight"].tolist() == [2.0, 1.0]


def test_another_run_remembers_nothing(lesson: Lesson, estimator: Told) -> None:
    weighting = LookAheadWeighting(estimator, memory=0.5)
    weighting(lesson, gradient(2.0, 2.0), A)
    weighting(lesson, gradient(2.0, 2.0), {})
    weighting(lesson, gradient(0.0, 0.0), A)
    assert estimator.look_aheads[-1]["head.weight"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("memory", [-0.1, 1.0])
def test_memory_has_a_range(memory: float) -> None:
    with pytest.raises(ConfigurationError, match=r"memory: expected at least 0 and below 1, got"):
        LookAheadWeighting(memory=memory)


def test_by_default_the_whole_student_is_looked_through() -> None:
    assert isinstance(LookAheadWeighting().hypergradient, FiniteDifferenceHypergradient)
