# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Names that users bring, where people read them: in pictures, tables and texts."""

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
"""Invisible, and part of how some languages are written."""
FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def shown_name(name: str) -> str:
    r"""Return a name in which each sign can be seen: others, and bytes that were no UTF-8, as ``\x1b``, ``\udcff``."""
    return "".join(map(_shown, name))


def csv_cell(text: str) -> str:
    """Return a cell that a spreadsheet reads as a text, not as a formula: after an apostrophe, if it begins as one.

    Numbers stay as they are.
    """
    if not text.lstrip(" ").startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]], line_end: str = "\n") -> str:
    """Return a CSV table; cells are written as they are."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([header, *rows])
    return text.getvalue()


def markdown_text(name: str) -> str:
    """Return Markdown that shows a name letter by letter: neither HTML nor a link, a picture, or a cell of a table."""
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", html.escape(shown_name(name), quote=False))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", escaped)


def markdown_code(text: str) -> str:
    """Return Markdown that shows a text as code, in a cell of a table, too; backticks and bars as escapes of JSON."""
    escapes = {sign: f"\\u{ord(sign):04x}" for sign in "`|<>&"}
    return f"`{''.join(escapes.get(sign, sign) for sign in shown_name(text))}`"


def _shown(sign: str) -> str:
    if sign.isprintable() or sign in JOINERS:
        return sign
    return " " if unicodedata.category(sign) == "Zs" else sign.encode("unicode_escape").decode()
