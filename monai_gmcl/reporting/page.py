# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A report as one self-contained HTML file, and as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_gmcl.names import markdown_code, markdown_text

__all__ = ["Facts", "Picture", "Section", "Table", "html_page", "markdown_page", "render"]

Facts = Sequence[tuple[str, Sequence[str]]]
"""Names and their values, one or several lines each."""
LONG_TEXT = 45
"""Number of characters from which a table cell may wrap."""


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: title above the table.
        columns: headings; the first is the heading of the row names.
        rows: rows of strings, one for each column.
        note: note below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG of the report: file name, description, content."""

    name: str
    alt: str
    png: bytes

    @property
    def base64(self) -> str:
        """The content in base64."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: title of the section.
        text: paragraphs at the start.
        tables: tables that are always shown.
        pictures: figures.
        photos: pictures of images; not in Markdown.
        folded: further tables, collapsed; not in Markdown.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    photos: Sequence[Picture] = ()
    folded: Sequence[Table] = ()


def html_page(title: str, facts: Facts, sections: Sequence[Section]) -> str:
    """Return a self-contained page with style and pictures, which needs no network."""
    return render("page.html", title=title, facts=facts, sections=sections)


def markdown_page(title: str, facts: Facts, sections: Sequence[Section]) -> str:
    """Return the report in Markdown; figures are linked as ``figures/<name>.png``."""
    return render("page.md", title=title, facts=facts, sections=sections)


def render(template: str, **values: Any) -> str:
    """Return a page: a template of this package, rendered with values."""
    return _ENVIRONMENT.get_template(template).render(**values)


def _cell_class(text: str) -> str:
    if len(text) > LONG_TEXT:
        return "text"
    if text in ("met", "missed"):
        return text
    return {"▲": "met", "▼": "missed"}.get(text[-1:], "")


def _markdown_table(rows: Sequence[Sequence[str]], columns: Sequence[str], escaped: bool = False) -> str:
    """Lines of a table; of escaped cells the bars are taken for part of the text already."""
    lines = (columns, ["---"] * len(columns), *rows)
    cells = [[" ".join(cell.split()) if escaped else cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


_ENVIRONMENT = Environment(
    loader=PackageLoader("monai_gmcl.reporting"),
    autoescape=lambda name: bool(name and name.endswith(".html")),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters.update(
    cell_class=_cell_class, markdown_table=_markdown_table, code=markdown_code, text=markdown_text
)
