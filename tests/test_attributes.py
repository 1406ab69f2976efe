# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from monai_gmcl import ExactHypergradient, HeadHypergradient, Hypergradient, Lesson
from monai_gmcl.attributes import Renamed
from monai_gmcl.teachers.operations import Operation


def lesson(n: int = 3) -> Lesson:
    return Lesson(None, torch.zeros(n), torch.zeros(n, 1), (n, 1, 2, 2), 1.0, 1.0, {"w": torch.ones(2)}, {}, 0)


@pytest.mark.parametrize(
    ("old", "new"), [("proposed", "num_pseudo_labeled"), ("labeled", "num_labeled"), ("share", "rank_weight")]
)
def test_an_old_name_reads_the_new_attribute_and_says_so(old: str, new: str) -> None:
    one = lesson()
    with pytest.warns(DeprecationWarning, match=f"Lesson.{old} is now called {new}"):
        assert getattr(one, old) == getattr(one, new)


def test_an_old_name_can_be_set_and_an_old_method_called() -> None:
    one = lesson()
    one.update = {"w": torch.tensor([2.0, 3.0])}
    with pytest.warns(DeprecationWarning):
        one.proposed = 2
        moved = one.learned({"w": torch.tensor([1.0, 2.0])})
    assert one.num_labeled == 1 and moved["w"].tolist() == [2.0, 6.0]


def test_methods_that_a_subclass_defines_under_old_names_are_called_under_the_new_ones() -> None:
    with pytest.warns(DeprecationWarning, match="Mine.reads is now called required_parameters"):

        class Mine(ExactHypergradient):
            def reads(self, lesson: Lesson) -> Any:
                return ["more", *super().reads(lesson)]

    with pytest.warns(DeprecationWarning):
        assert Mine().required_parameters(lesson()) == ["more", "w"]


def test_the_old_name_of_a_method_leads_to_what_a_subclass_has_under_the_new_one() -> None:
    class Mine(HeadHypergradient):
        def image_scores(self, lesson: Any, look_ahead: Any) -> Any:
            return "mine"

    with pytest.warns(DeprecationWarning):
        assert Mine().worth(None, {}) == "mine"


def test_new_names_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Mine(HeadHypergradient):
            def required_parameters(self, lesson: Lesson) -> Any:
                return []

        assert Mine().required_parameters(lesson()) == [] and lesson().num_labeled == 3


@pytest.mark.parametrize("owner", [Hypergradient, Lesson, Operation])
def test_every_old_name_has_a_new_one(owner: type) -> None:
    renamed = [value for value in vars(owner).values() if isinstance(value, Renamed)]
    fields = getattr(owner, "__dataclass_fields__", {})
    assert renamed and all(hasattr(owner, value.new) or value.new in fields for value in renamed)
