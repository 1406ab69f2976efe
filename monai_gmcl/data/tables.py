# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading of CSV tables and JSON files from different programs."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import Fault, OnFault, stop

__all__ = ["Table", "read_json", "read_table"]

DELIMITERS = ",;\t|"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Table:
    """A CSV table with a header.

    Values are separated by commas, semicolons, tabs or bars, as in the header. The encoding is UTF-8, or UTF-16 with a
    byte order mark. Blanks around headings, and empty rows, are ignored.

    Attributes:
        columns: the headings.
        rows: for each row, its line in the file (the header is 1) and its values by heading.
    """

    def __init__(self, columns: list[str], rows: list[tuple[int, dict[str, str]]]) -> None:
        self.columns, self.rows = columns, rows

    def column(self, name: str) -> str | None:
        """Return the heading with this name, ignoring case; None if there is none or more than one."""
        if name in self.columns:
            return name if self.columns.count(name) == 1 else None
        found = [column for column in self.columns if column.casefold() == name.strip().casefold()]
        return found[0] if len(found) == 1 else None


def read_table(path: Path, wanted: Sequence[str] = (), on_fault: OnFault = stop) -> Table | None:
    """Read a CSV table, in which each required heading must occur once; return None after a fault."""
    text = _text(path, "a CSV table in UTF-8", on_fault)
    if text is None:
        return None
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, wanted))
    read: list[tuple[int, list[str]]] = []
    try:
        for values in lines:
            if any(value.strip() for value in values):
                read.append((lines.line_num, values))
    except csv.Error as error:
        on_fault(Fault("table", str(path), "a CSV table in UTF-8", f"none: {error}", None))
        return None
    columns = [name.strip() for name in read[0][1]] if read else []
    table = Table(columns, [])
    for name in wanted:
        if table.column(name) is None:
            several = [column for column in columns if column.casefold() == name.strip().casefold()]
            found = "two such columns" if len(several) > 1 else ", ".join(columns) or "none"
            on_fault(Fault("table", str(path), f"a column {name!r}", found))
            return None
    for line, values in read[1:]:
        if len(values) > len(columns) and any(value.strip() for value in values[len(columns) :]):
            found = f"{len(values)}: {', '.join(values[len(columns) :])!r} has no column"
            on_fault(Fault("row", str(path), f"{len(columns)} values", found, line))
        else:
            values = values + [""] * (len(columns) - len(values))
            table.rows.append((line, dict(zip(columns, values, strict=False))))
    return table


def _delimiter(text: str, wanted: Sequence[str]) -> str:
    """Return the delimiter that gives the required headings or, if there is none, the most headings."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    makes = {mark: [name.strip(' "').casefold() for name in header.split(mark)] for mark in DELIMITERS}
    fits = [mark for mark in DELIMITERS if all(name.strip().casefold() in makes[mark] for name in wanted)]
    return fits[0] if fits else max(DELIMITERS, key=lambda mark: len(makes[mark]))


def read_json(path: Path, on_fault: OnFault = stop) -> dict[str, Any] | None:
    """Read a JSON datalist; return None after a fault."""
    text = _text(path, "JSON", on_fault)
    if text is None:
        return None
    try:
        content = json.loads(text)
    # JSONDecodeError is a ValueError; numbers with thousands of digits also raise ValueError
    except (ValueError, RecursionError) as error:
        on_fault(Fault("table", str(path), "JSON", f"none: {error}"))
        return None
    if not isinstance(content, dict):
        on_fault(Fault("table", str(path), "a list 'training'", type(content).__name__))
        return None
    return content


def _text(path: Path, expected: str, on_fault: OnFault) -> str | None:
    if not path.is_file():
        on_fault(Fault("missing", str(path), "a datalist", "no file"))
        return None
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"another encoding ({error.reason} in line {line}; save it as UTF-8)"
    except OSError as error:
        found = f"none: {error}"
    on_fault(Fault("table", str(path), expected, found))
    return None
