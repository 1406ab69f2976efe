# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_gmcl.data.listing import Item
from monai_gmcl.data.splits import check_no_leakage, draw_labeled, grouped_stratified_split, split_off
from monai_gmcl.exceptions import DataError


def _items(labels: list[int], groups: list[str] | None = None) -> list[dict[str, Any]]:
    items = [{"image": f"{i}.png", "label": label} for i, label in enumerate(labels)]
    return items if groups is None else [{**item, "group": g} for item, g in zip(items, groups, strict=True)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=60), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_every_image_is_in_one_part_and_no_group_in_two(rows: list[tuple[int, int]], seed: int) -> None:
    items = _items([label for label, _ in rows], [f"p{group}" for _, group in rows])
    if len({item["group"] for item in items}) < 3:
        with pytest.raises(DataError, match="at least 3 patients"):
            grouped_stratified_split(items, (0.6, 0.2, 0.2), seed)
        return
    parts = grouped_stratified_split(items, (0.6, 0.2, 0.2), seed)
    assert sorted(item["image"] for part in parts for item in part) == sorted(item["image"] for item in items)
    assert all(parts)
    check_no_leakage(dict(zip("abc", parts, strict=True)))


def test_without_groups_the_shares_of_the_classes_are_exact_where_they_can_be() -> None:
    items = _items([0] * 50 + [1] * 20 + [2] * 10)
    parts = grouped_stratified_split(items, (0.6, 0.2, 0.2), seed=0)
    assert [Counter(item["label"] for item in part) for part in parts] == [
        {0: 30, 1: 12, 2: 6},
        {0: 10, 1: 4, 2: 2},
        {0: 10, 1: 4, 2: 2},
    ]
    assert parts[0] == sorted(parts[0], key=items.index)


def test_with_patients_of_many_sizes_classes_keep_their_shares_within_five_percent() -> None:
    generator = np.random.default_rng(0)
    labels: list[int] = []
    groups: list[str] = []
    for patient in range(80):
        count = int(generator.integers(1, 12))
        labels += generator.choice(3, count, p=generator.dirichlet((2, 1, 0.5))).tolist()
        groups += [f"p{patient}"] * count
    for part, fraction in zip(
        grouped_stratified_split(_items(labels, groups), (0.6, 0.2, 0.2), seed=1), (0.6, 0.2, 0.2), strict=True
    ):
        found = Counter(item["label"] for item in part)
        for label, total in Counter(labels).items():
            assert found[label] / total == pytest.approx(fraction, abs=0.05)


def test_the_seed_decides_the_split() -> None:
    items = _items([0, 1] * 20)
    splits = [grouped_stratified_split(items, (0.5, 0.5), seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (1.2, -0.2), (1.0, 0.0)])
def test_impossible_fractions_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="fractions above 0 that sum to 1"):
        grouped_stratified_split(_items([0, 1]), fractions, seed=0)


def test_leakage_names_what_is_shared_and_where() -> None:
    one, two = _items([0, 0], ["p1", "p2"]), _items([1, 1], ["p2", "p3"])
    for item in two:
        item["image"] = "other-" + item["image"]
    with pytest.raises(DataError, match=r"train and test share: p2\.$"):
        check_no_leakage({"train": one, "test": two})
    with pytest.raises(DataError, match=r"share: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more\.$"):
        check_no_leakage({"train": _items([0] * 7), "valid": [], "test": _items([1] * 7)})


def test_images_without_a_group_leak_nothing() -> None:
    check_no_leakage({"train": _items([0, 1])[:1], "test": _items([0, 1])[1:]})


def test_a_draw_has_so_many_of_each_class_by_seed_and_the_rest_is_the_rest() -> None:
    items = _items([0, 1, 1, 0, 1, 0, 0, 1, 1])
    drawn, rest = draw_labeled(items, 2, seed=3)
    assert Counter(item["label"] for item in drawn) == {0: 2, 1: 2}
    assert sorted(drawn + rest, key=items.index) == items
    assert draw_labeled(items, 2, seed=3) == (drawn, rest)
    assert any(draw_labeled(items, 2, seed)[0] != drawn for seed in range(4))


def test_a_class_with_too_few_images_or_multi_labels_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="at least 3 images of class 1, found 2"):
        draw_labeled(_items([0, 0, 0, 1, 1]), 3, seed=0)
    with pytest.raises(DataError, match=r"found the label \[0.0, 1.0\]"):
        draw_labeled([{"image": "a.png", "label": [0.0, 1.0]}], 1, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_a_class_with_a_single_image_stands_in_training(seed: int) -> None:
    items: list[Item] = [{"image": f"{i}.png", "label": i % 2} for i in range(10)]
    items += [{"image": "rare.png", "label": 2}]
    parts = split_off({"training": items}, (0.6, 0.2, 0.2), seed)
    assert {item["label"] for item in parts["training"]} == {0, 1, 2}
    assert all(parts.values()) and sum(map(len, parts.values())) == 11


def test_images_that_show_the_same_stay_together_over_patients() -> None:
    items: list[Item] = [{"image": f"{i}.png", "label": i % 2, "group": f"p{i % 6}"} for i in range(24)]
    twins = {"0.png": "x", "7.png": "x", "14.png": "y", "3.png": "y"}
    parts = split_off({"training": items}, (0.6, 0.2, 0.2), 0, twins)
    where = {item["group"]: part for part, members in parts.items() for item in members}
    assert where["p0"] == where["p1"] and where["p2"] == where["p3"]
    assert len(set(where.values())) == 3


def test_a_file_that_is_listed_twice_is_in_one_part() -> None:
    items: list[Item] = [{"image": f"{i % 12}.png", "label": i % 2} for i in range(24)]
    parts = split_off({"training": items}, (0.5, 0.25, 0.25), 3)
    files = [{item["image"] for item in members} for members in parts.values()]
    assert len(set.union(*files)) == sum(map(len, files)) == 12


def test_parts_that_are_given_are_left_alone() -> None:
    items: list[Item] = [{"image": f"{i}.png", "label": 0} for i in range(8)]
    given: list[Item] = [{"image": "v.png", "label": 0}]
    assert split_off({"training": items, "validation": given, "test": given}, (0.6, 0.2, 0.2), 0)["training"] == items
    parts = split_off({"training": items, "test": given}, (0.6, 0.2, 0.2), 0)
    assert parts["test"] == given and (len(parts["training"]), len(parts["validation"])) == (6, 2)
