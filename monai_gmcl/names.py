# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Safe display of users' names in pictures, tables and texts."""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["csv_cell", "csv_text", "markdown_code", "markdown_text", "shown_name"]

JOINERS = "\u200c\u200d"
"""Invisible characters that some languages need."""
FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def shown_name(name: str) -> str:
    r"""Return a name with visible characters only; other characters, and bytes that are not UTF-8, are escaped."""
    return "".join(map(_shown, name))


def csv_cell(text: str) -> str:
    """Return a cell that a spreadsheet does not read as a formula; an apostrophe is added if necessary.

    Numbers are not changed.
    """
    if not text.lstrip(" ").startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]], line_end: str = "\n") -> str:
    """Return a CSV table with unchanged cells."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([header, *rows])
    return text.getvalue()


def markdown_text(name: str) -> str:
    """Return Markdown that shows a name literally, without HTML, links, pictures or table cells."""
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", html.escape(shown_name(name), quote=False))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", escaped)


def markdown_code(text: str) -> str:
    """Return Markdown that shows a string as code, also in a table; backticks and bars are escaped as in JSON."""
    escapes = {sign: f"\\u{ord(sign):04x}" for sign in "`|<>&"}
    return f"`{''.join(escapes.get(sign, sign) for sign in shown_name(text))}`"


def _shown(sign: str) -> str:
    if sign.isprintable() or sign in JOINERS:
        return sign
    return " " if unicodedata.category(sign) == "Zs" else sign.encode("unicode_escape").decode()
