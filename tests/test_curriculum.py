# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch

from monai_gmcl import ClassSampler, Competence, Curriculum, LinearRamp
from monai_gmcl.exceptions import ConfigurationError


def test_a_ramp_goes_in_a_straight_line_between_its_points() -> None:
    ramp = LinearRamp(0.0, 2.0, start=0.2, end=0.6)
    assert [ramp(p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([0, 0, 1, 2, 2])


def test_difficulty_grows_while_lessons_are_too_easy_and_shrinks_while_they_are_too_hard() -> None:
    easy, hard = Competence(), Competence()
    for _ in range(20):
        easy.observe(0.9, 0.9)
        hard.observe(0.9, 0.4)
    assert easy.difficulty > 1 > hard.difficulty


def test_competence_follows_its_formula_with_averages_free_of_their_start() -> None:
    competence = Competence(gap=0.1, rate=0.5, memory=0.5)
    competence.observe(1.0, 0.5)
    first = math.exp(0.5 * (0.1 - 0.5))
    assert competence.difficulty == pytest.approx(first)
    competence.observe(1.0, 1.0)
    average = (0.25 * 0.5 + 0.5 * 0.0) / 0.75
    assert competence.difficulty == pytest.approx(first * math.exp(0.5 * (0.1 - average)))


def test_lessons_become_as_hard_as_unseen_images_where_those_are_harder_than_the_gap() -> None:
    plain, told, near = (Competence(gap=0.1, rate=0.5, memory=0.5) for _ in range(3))
    told.observe_unseen(0.9)
    told.observe_unseen(0.5)
    near.observe_unseen(0.95)
    for competence in (plain, told, near):
        competence.observe(1.0, 0.8)
    assert told.difficulty == pytest.approx(math.exp(0.5 * ((1.0 - 0.7) - 0.2)))
    assert near.difficulty == plain.difficulty == pytest.approx(math.exp(0.5 * (0.1 - 0.2)))


def test_only_competence_asks_for_unseen_images() -> None:
    fixed = Curriculum(difficulty=2.0)
    fixed.observe_unseen(0.1)
    assert fixed.at(0.5).difficulty == 2.0


def test_difficulty_stays_within_its_bounds() -> None:
    competence = Competence(least=0.5, most=2.0, rate=5.0)
    for _ in range(50):
        competence.observe(1.0, 1.0)
    assert competence.difficulty == 2.0
    for _ in range(50):
        competence.observe(1.0, 0.0)
    assert competence.difficulty == 0.5


@pytest.mark.parametrize(
    ("mode", "shares"), [("balanced", (0.5, 0.5)), ("data", (0.8, 0.2)), ("errors", (0.335, 0.665))]
)
def test_classes_are_drawn_as_the_mode_says(mode: str, shares: tuple[float, float]) -> None:
    sampler = ClassSampler(mode, memory=0.0)
    sampler.observe([0] * 8 + [3] * 2, [0.0] * 8 + [0.0] * 2)
    if mode == "errors":
        sampler.observe([0], [0.5])
    drawn = sampler.draw(20000, [0, 3], torch.Generator().manual_seed(0))
    found = [(drawn == label).double().mean().item() for label in (0, 3)]
    assert found == pytest.approx(shares, abs=0.02)


def test_every_value_is_given_by_progress() -> None:
    curriculum = Curriculum(
        real_weight=LinearRamp(1.0, 0.2),
        lesson_weight=lambda p: p,
        hardness=0.5,
        difficulty=0.7,
        unlabeled_difficulty=LinearRamp(0.0, 0.4),
    )
    values = curriculum.at(0.5).as_dict()
    assert values == pytest.approx(
        {
            "real_weight": 0.6,
            "lesson_weight": 0.5,
            "unlabeled_weight": 1.0,
            "hardness": 0.5,
            "difficulty": 0.7,
            "unlabeled_difficulty": 0.2,
        }
    )


def test_what_has_developed_is_saved_and_put_back() -> None:
    first, second = Curriculum(), Curriculum()
    first.observe(0.9, 0.9)
    first.observe_unseen(0.6)
    first.class_sampler.observe([1, 0], [1.0, 0.0])
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    first.observe(0.9, 0.2)
    second.observe(0.9, 0.2)
    assert second.at(0.5) == first.at(0.5)


def test_impossible_values_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"real_weight must be at least 0, got -1.0 at progress 0"):
        Curriculum(real_weight=-1.0)
    with pytest.raises(ConfigurationError, match="balanced, data, errors, got 'often'"):
        ClassSampler("often")
    with pytest.raises(ConfigurationError, match="0 < least <= start <= most"):
        Competence(start=9.0)
