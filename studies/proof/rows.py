# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of the proof, kept in one file: ``python -m studies.proof.rows unpack proof --out FOLDER``.

A line of the file is a run: the part of the study (``proof``, ``development``, ``phantom``), the name that ``compare``
gave its file, and the row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fire

from monai_gmcl.benchmark.grid import keep_row
from monai_gmcl.exceptions import ConfigurationError
from studies.json_lines import read_rows, write_rows

__all__ = ["ROWS", "kept_rows", "pack", "unpack"]

ROWS = Path(__file__).parent / "rows.jsonl.xz"
PARTS = ("proof", "development", "phantom")


def kept_rows(part: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return the rows of a part with the names of their files, in ``runs``; those of strengths in ``runs/strengths``.

    Raises:
        ConfigurationError: another part.
    """
    if part not in PARTS:
        raise ConfigurationError(f"Expected a part of the study, {', '.join(PARTS)}, got {part!r}.")
    return [(Path(line["file"]), line["row"]) for line in read_rows(ROWS) if line["part"] == part]


def unpack(part: str, out: str) -> None:
    """Write a file for each row, as ``compare`` leaves them, so that a grid goes on where it stopped.

    Args:
        part: ``proof``, ``development`` or ``phantom``.
        out: folder of the comparison.
    """
    rows = kept_rows(part)
    for file, row in rows:
        keep_row(Path(str(out)) / file, row)
    print(f"{len(rows)} runs in {out}")


def pack(part: str, folder: str) -> None:
    """Put the runs of a folder into the file, in place of those that the part had.

    Args:
        part: ``proof``, ``development`` or ``phantom``.
        folder: of the comparison, with ``runs``.

    Raises:
        ConfigurationError: another part, or a folder without runs.
    """
    if part not in PARTS:
        raise ConfigurationError(f"Expected a part of the study, {', '.join(PARTS)}, got {part!r}.")
    place = Path(str(folder))
    files = sorted((place / "runs").rglob("*.json"))
    if not files:
        raise ConfigurationError(f"Expected runs in {str(place / 'runs')!r}, found none.")
    others = [line for line in (read_rows(ROWS) if ROWS.exists() else []) if line["part"] != part]
    own = [
        {"part": part, "file": file.relative_to(place).as_posix(), "row": json.loads(file.read_text(encoding="utf-8"))}
        for file in files
    ]
    write_rows(ROWS, [*others, *own])


if __name__ == "__main__":
    fire.Fire({"unpack": unpack, "pack": pack})
