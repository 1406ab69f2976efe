# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.label_names import (
    Entry,
    class_name,
    group_name,
    joined_names,
    match_name,
    multi_label,
    name_parts,
    sorted_names,
)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("tumor", "tumor"),
        (" tumor ", "tumor"),
        (3, "3"),
        (3.0, "3.0"),
        ("3", "3"),
        ("0", "0"),
        ("1e3", "1e3"),
        (True, "True"),
    ],
)
def test_a_class_is_called_as_it_is_written_but_for_blanks_around(label: Any, name: str) -> None:
    assert class_name(label) == name


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["7", "7.0", "8"], {"7": "7", "7.0": "7", "8": "8"}),
        (["01", "1", "1.00"], {"01": "1", "1": "1", "1.00": "1"}),
        (["-1", "-1.0", "+2", "2"], {"-1": "-1", "-1.0": "-1", "+2": "2", "2": "2"}),
        (["TRUE", "True", "true"], dict.fromkeys(["TRUE", "True", "true"], "true")),
        (["b\u00f6se", "bo\u0308se"], dict.fromkeys(["b\u00f6se", "bo\u0308se"], "b\u00f6se")),
        (["cell  a", "cell\u00a0a"], dict.fromkeys(["cell  a", "cell\u00a0a"], "cell a")),
        (["Cat", "cat"], {"Cat": "Cat", "cat": "cat"}),
        (["1.5", "1.50", "1e3", "1000"], {"1.5": "1.5", "1.50": "1.50", "1e3": "1e3", "1000": "1000"}),
    ],
)
def test_one_thing_has_one_name_however_it_is_written(written: list[str], names: dict[str, str]) -> None:
    found, joined = joined_names(written)
    assert found == names
    assert sum(map(len, joined)) == len(written) - sum(list(names.values()).count(name) == 1 for name in names.values())


def test_a_name_that_is_written_one_way_keeps_its_zeros() -> None:
    assert joined_names(["001", "002", "TRUE"]) == ({"001": "001", "002": "002", "TRUE": "TRUE"}, [])
    assert joined_names(["1.0", "2.0"]) == ({"1.0": "1", "2.0": "2"}, [])


@pytest.mark.parametrize(("group", "name"), [(7, "7"), (" p1 ", "p1"), ("", None), (float("nan"), None), (None, None)])
def test_a_patient_has_a_name_or_none(group: Any, name: str | None) -> None:
    assert group_name(group) == name


@pytest.mark.parametrize(
    "label", ["", "  ", "-1", -1, 0.5, "0.5", "nan", "NaN", "inf", "-inf", None, {}, (1,), "9" * 5000]
)
def test_what_can_be_no_class_has_none(label: Any) -> None:
    assert class_name(label) is None


def test_a_name_that_the_user_gives_is_taken_as_it_is() -> None:
    assert class_name("-1", ["-1", "1"]) == "-1"
    assert match_name("1.0", ["0", "1"]) == "1"
    assert match_name("01", ["1", "01"]) == "01"
    assert match_name("2", ["0", "1"]) is None


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["0", "1"], [0.0, 1.0]),
        ([True, 0.0], [1.0, 0.0]),
        ([], None),
        ([2], None),
        (["x"], None),
        ([None], None),
        ([float("nan")], None),
        ([10**400], None),
    ],
)
def test_labels_of_a_multi_label_task_are_0_or_1(values: Any, numbers: Any) -> None:
    assert multi_label(values) == numbers


def test_numbers_come_first_and_as_numbers() -> None:
    assert sorted_names(["b", "10", "9", "a", "9", "1" * 30]) == ["9", "10", "1" * 30, "a", "b"]


def _named(**labels: list[Any]) -> tuple[dict[str, list[Any]], list[str], list[Fault]]:
    """Labels and groups of each part, the class names and the faults."""
    faults: list[Fault] = []
    parts = {
        part: [Entry({"image": f"{part}{i}", "label": label, "group": label}, i) for i, label in enumerate(listed)]
        for part, listed in labels.items()
    }
    found, names = name_parts(parts, None, Path("list.csv"), faults.append)
    return {part: [(item["label"], item["group"]) for item in items] for part, items in found.items()}, names, faults


def test_classes_and_patients_have_one_name_in_all_parts_and_that_is_told() -> None:
    found, names, faults = _named(training=["01", "2"], validation=["1", "2.0"], test=["1.0"])
    assert names == ["1", "2"]
    assert found == {"training": [(0, "1"), (1, "2")], "validation": [(0, "1"), (1, "2")], "test": [(0, "1")]}
    assert [(fault.kind, fault.expected) for fault in faults] == [
        ("joined", "one spelling of each class"),
        ("joined", "one spelling of each patient or slide"),
    ]
    assert faults[0].found == "'01' and '1' and '1.0', '2' and '2.0'"


def test_many_joined_names_take_one_line() -> None:
    ways = [way for number in range(9) for way in (str(number), f"{number}.0")]
    fault = _named(training=ways)[2][0]
    assert fault.found == "'0' and '0.0', '1' and '1.0', '2' and '2.0', 6 more"


@pytest.mark.parametrize("labels", [["cat", "dog"], ["10", "9"], ["Cat", "cat"], ["001", "002"]])
def test_what_is_written_one_way_is_told_of_by_nothing(labels: list[str]) -> None:
    assert _named(training=labels)[2] == []


def test_a_class_of_another_part_alone_is_an_error_of_its_row() -> None:
    faults = _named(training=["a", "b"], test=["b", "c"])[2]
    assert [(fault.kind, fault.row, fault.found) for fault in faults] == [("label", 1, "'c'")]
