# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a study, a JSON object a line; packed (``.jsonl.xz``) where they are kept."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_gmcl.atomic_file import write_whole

__all__ = ["append_row", "read_rows", "write_rows"]


def append_row(row: dict[str, Any], file: str | None) -> None:
    """Print a row, and append it to a file of a JSON object a line, if one is named."""
    line = json.dumps(row)
    print(line, flush=True)
    if file:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")


def read_rows(file: str | Path) -> list[dict[str, Any]]:
    """Return the rows of a file, packed if its name ends in ``.xz``."""
    data = Path(file).read_bytes()
    text = (lzma.decompress(data) if Path(file).suffix == ".xz" else data).decode()
    return [json.loads(line) for line in text.splitlines()]


def write_rows(file: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows in place of what a file held, packed if its name ends in ``.xz``: same rows, same bytes."""
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    write_whole(Path(file), lzma.compress(data, preset=9) if Path(file).suffix == ".xz" else data)
