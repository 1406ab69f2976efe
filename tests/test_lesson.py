# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_gmcl import Lesson
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.lesson import LessonGraph, RealStep

CPU = torch.device("cpu")


def lesson(**changes: Any) -> Lesson:
    parameters = {"w": torch.ones(2, requires_grad=True)}
    return Lesson(None, torch.tensor([0, 1, 1]), torch.rand(3, 1), (3, 1, 2, 2), 0.5, 1.0, parameters, {}, 7, **changes)


def test_images_count_once_until_the_lesson_has_been_weighed() -> None:
    assert lesson().weights.tolist() == [1.0, 1.0, 1.0]


def test_the_last_images_are_the_pseudo_labeled_ones_with_a_difficulty_of_their_own() -> None:
    one = lesson(num_pseudo_labeled=1, unlabeled_difficulty=2.0)
    assert one.num_labeled == 2 and one.parts() == [(slice(2), 0.5), (slice(2, None), 1.0)]
    assert lesson(num_pseudo_labeled=1).parts() == [(slice(None), 0.5)]


@pytest.mark.parametrize("name", ["generated", "images", "outputs", "losses", "head"])
def test_a_record_has_no_graph_and_says_so(name: str) -> None:
    with pytest.raises(ConfigurationError, match="record of a checkpoint"):
        getattr(lesson(), name)


def test_the_head_is_there_where_an_estimator_records_it() -> None:
    x = torch.rand(3)
    with pytest.raises(ConfigurationError, match="no record of the student's head.*HeadHypergradient"):
        _ = lesson(graph=LessonGraph(x, x, x, x, None, lambda *_: x)).head


def test_passes_are_replayed_with_the_lessons_own_seed_buffers_and_inputs() -> None:
    x, asked = torch.rand(3), []
    one = lesson(args=(1,), kwargs={"b": 2}, graph=LessonGraph(x, x, x, x, None, lambda *inputs: asked.append(inputs)))
    one.replay({"w": x}, x)
    step = RealStep(x, x, 1.0, {}, {}, {}, "SGD", 9, (3,), {"c": 4})
    one.replay_real(step, {"w": x})
    assert [inputs[4:] for inputs in asked] == [(7, (1,), {"b": 2}), (9, (3,), {"c": 4})]


def test_a_record_comes_back_as_it_was_without_its_graph() -> None:
    x = torch.rand(3)
    step = RealStep(x, x, 1.0, {"w": x}, {"w": {"step": 1.0}}, {"w": {"lr": 0.1}}, "SGD", 9)
    one = lesson(num_pseudo_labeled=2, weights=x, real_step=step, graph=LessonGraph(x, x, x, x, None, lambda *_: x))
    again = Lesson.from_record(one.record(), CPU)
    assert again.graph is None and again.num_pseudo_labeled == 2 and torch.equal(again.weights, x)
    assert again.real_step is not None and torch.equal(again.real_step.gradient["w"], x)
    assert again.parameters["w"].requires_grad and not again.weights.requires_grad


def test_records_of_version_0_1_are_read() -> None:
    record = lesson(num_pseudo_labeled=2).record()
    record["proposed"] = record.pop("num_pseudo_labeled")
    assert Lesson.from_record(record, CPU).num_pseudo_labeled == 2
