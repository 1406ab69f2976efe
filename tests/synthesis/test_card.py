# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import markdown
import pytest

from monai_gmcl.synthesis.card import Measures, card
from monai_gmcl.teachers.teacher_file import TeacherDescription

RECORD: dict[str, Any] = {
    "source_sha256": "0" * 64, "difficulty": 1.0, "seed": 0, "crop": None, "size": None, "intensity_range": [0, 1],
    "spacing": None,
}  # fmt: skip


def page(name: str, **described: Any) -> str:
    """The card of a set with a class of this name, as a browser shows it."""
    told = {"architecture": "a.PolicyTeacher", "config": {}, "label_names": None, "training": {}, "versions": {}}
    description = TeacherDescription(**{**told, **described}, sha256="1" * 64)
    measures = Measures({name: (0.1, None)}, 0.5, "not measured", "not measured")
    text = card(description, True, RECORD, {name: 2}, {name: 3}, ["1 x 8 x 8"], measures)
    return markdown.markdown(text, extensions=["tables"])


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![pixel](http://a.example/p.png)",
    "[click](javascript:alert(1))",
    "a | b | c",
    "**bold**",
    "line\n\n# heading",
    "bad\udcff",
    "`code`",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_class_is_shown_by_its_name_and_does_nothing(name: str) -> None:
    shown, plain = page(name), page("tumor")
    for tag in ("<script", "<img", "<a ", "<h1", "<h2", "<tr", "<td", "<strong", "<code"):
        assert shown.count(tag) == plain.count(tag), tag
    shown.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_so_is_what_a_teachers_file_says(name: str) -> None:
    shown = page("tumor", config={name: name}, training={"note": name}, versions={name: name}, architecture=f"x.{name}")
    plain = page("tumor", config={"a": "b"}, training={"note": "c"}, versions={"d": "e"})
    for tag in ("<script", "<img", "<a ", "<h1", "<h2", "<tr", "<td", "<strong", "<code"):
        assert shown.count(tag) == plain.count(tag), tag
