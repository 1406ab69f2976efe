# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io

import pytest

from monai_gmcl.names import csv_cell, markdown_code, markdown_text, shown_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Krebs, Größe 3 µm", "Krebs, Größe 3 µm"),
        ("正常\u3000組織", "正常 組織"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("price $5 $x^{$", "price $5 $x^{$"),
        ("bad\udcffname", "bad\\udcffname"),
        ("two\nlines\ttab", "two\\nlines\\ttab"),
        ("a\x00b\x1b[31mred", "a\\x00b\\x1b[31mred"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("", ""),
    ],
)
def test_a_name_is_shown_sign_by_sign(name: str, shown: str) -> None:
    assert shown_name(name) == shown
    assert shown_name(shown) == shown
    shown.encode()


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "  =HYPERLINK(1)", "＝1"])
def test_a_cell_that_would_be_a_formula_begins_with_an_apostrophe(name: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerow([csv_cell(name)])
    assert next(csv.reader(io.StringIO(text.getvalue(), newline=""))) == [f"'{name}"]


@pytest.mark.parametrize("name", ["tumor", "-1", "+2.5", "-1e-3", "a=b", "", "'=1", "images/a.png"])
def test_other_cells_and_numbers_stay_as_they_are(name: str) -> None:
    assert csv_cell(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "![x](http://a.example/pixel.png)",
        "[click](javascript:alert)",
        "a | b",
        "**bold** _it_ `code`",
        "a\n\n# heading",
        "&lt;img src=x onerror=y&gt;",
        "see https://a.example or www.a.example",
    ],
)
def test_markdown_shows_a_name_and_makes_nothing_of_it(name: str) -> None:
    import markdown  # of mkdocs

    page = markdown.markdown(f"| class |\n| --- |\n| {markdown_text(name)} |", extensions=["tables"])
    assert page.count("<td>") == 1 and "<h1>" not in page
    for tag in ("<script", "<img", "<a ", "<strong", "<em", "<code"):
        assert tag not in page


def test_code_holds_neither_backticks_nor_bars_nor_tags() -> None:
    shown = markdown_code('{"a": "`|<b>&"}')
    assert shown == '`{"a": "\\u0060\\u007c\\u003cb\\u003e\\u0026"}`'
