# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from monai_gmcl.reporting.page import Picture, Section, Table, html_page, markdown_page

TABLE = Table("AUC <all>", ["arm", "gain"], [["a|b", "+.012 [+.003, +.021] ▲"], ["c", "missed"]], "A note.")
FOLDED = Table("Behind", ["x"], [["y"]])
PICTURE, PHOTO = Picture("curve", "a curve", b"1"), Picture("p", "a photo", b"2")
SECTION = Section("Part & whole", ["Text."], [TABLE], [PICTURE], [PHOTO])
FACTS = [("command", ["one --x '<1>'", "two"])]


def test_what_is_written_cannot_break_the_page() -> None:
    page = html_page("T", FACTS, [Section("Part & whole", ["a < b"], [TABLE], folded=[FOLDED])])
    assert "AUC &lt;all&gt;" in page and "Part &amp; whole" in page and "a &lt; b" in page and "&lt;1&gt;" in page
    assert "<details><summary>Behind</summary>" in page


def test_sure_gains_and_misses_are_marked() -> None:
    page = html_page("T", FACTS, [SECTION])
    assert '<td class="met">+.012' in page and '<td class="missed">missed</td>' in page


def test_pictures_are_in_the_page_and_figures_alone_in_markdown() -> None:
    page = html_page("T", FACTS, [SECTION])
    assert 'src="data:image/png;base64,MQ=="' in page and 'src="data:image/png;base64,Mg=="' in page
    text = markdown_page("T", FACTS, [SECTION])
    assert "![a curve](figures/curve.png)" in text and "a photo" not in text


def test_markdown_has_tables_that_bars_do_not_break() -> None:
    lines = markdown_page("T", FACTS, [SECTION]).splitlines()
    assert "| arm | gain |" in lines and "| a\\|b | +.012 [+.003, +.021] ▲ |" in lines and "A note." in lines
    assert "- command: `one --x '<1>'`; `two`" in lines
