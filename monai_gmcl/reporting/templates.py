# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The jinja2 templates of all pages; HTML is escaped, Markdown is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_gmcl.names import markdown_code, markdown_text

__all__ = ["render"]

LONG_TEXT = 45
"""Number of characters above which a table cell may have line breaks."""


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
    """Return the lines of a table; bars in the cells must be escaped."""
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
