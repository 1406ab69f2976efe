# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.data.entries import Entry, name_parts
from monai_gmcl.data.faults import Fault


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
