# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""CSV files that get new rows with each epoch, written atomically."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.exceptions import DataError
from monai_gmcl.names import csv_text, shown_name

__all__ = ["EpochTable", "OperationTable"]


class EpochTable:
    """A CSV file in an existing folder, with one row of numbers for each epoch.

    The file is written atomically: to a temporary file, which is then moved. New columns are appended, and are empty in
    earlier rows. NaN is an empty cell.
    """

    KEY = "epoch"
    LINE_END = "\r\n"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> list[dict[str, Any]]:
        """Return the rows of the file, none if it does not exist; DataError if it is not a table by epoch."""
        return self._read()[1]

    def put(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Write the row of an epoch, and remove rows of the same and later epochs from before a resume.

        DataError if an existing file is not a table of numbers by epoch; OutputError if the file cannot be written.
        """
        numbers = {shown_name(name): number for name, number in numbers.items()}
        columns, rows = self._read()
        self._write(list(dict.fromkeys([*columns, self.KEY, *numbers])), rows, epoch, [numbers])

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self.path.is_file():
            return [], []
        with open(self.path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            self._check(columns)
            try:
                return columns, [self._parsed(row) for row in reader]
            except (TypeError, ValueError, csv.Error) as error:
                raise DataError(f"{self.path}, line {reader.line_num}: expected numbers ({error}).") from error

    def _check(self, columns: Sequence[str]) -> None:
        if columns and self.KEY not in columns:
            raise DataError(
                f"{self.path} must have a column {self.KEY!r} with a number in each row. Move the file to another "
                "folder."
            )

    def _parsed(self, row: Mapping[str, str]) -> dict[str, Any]:
        numbers = {name: float(cell) for name, cell in row.items() if cell or name == self.KEY}
        return {**numbers, self.KEY: int(numbers[self.KEY])}

    def _write(
        self,
        columns: Sequence[str],
        before: Sequence[Mapping[str, Any]],
        epoch: int,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        kept = [row for row in before if row[self.KEY] < epoch] + [{**row, self.KEY: epoch} for row in rows]
        cells = ([_cell(row.get(name, "")) for name in columns] for row in kept)
        write_whole(self.path, csv_text(columns, cells, self.LINE_END))


class OperationTable(EpochTable):
    """A CSV file with one row for each epoch and operation, as returned by ``PolicyTeacher.policy`` with effects."""

    NUMBERS = ("low", "high", "probability", "share", "effect", "standard_error")
    COLUMNS = ("epoch", "operation", "low", "high", "unit", *NUMBERS[2:], "turned_down")

    def put(self, epoch: int, policy: Mapping[str, Mapping[str, Any]]) -> None:  # type: ignore[override]
        """Write the rows of an epoch, by operation, and remove rows of the same and later epochs."""
        rows = [{"operation": name, **row} for name, row in policy.items()]
        self._write(self.COLUMNS, self.read(), epoch, rows)

    def _check(self, columns: Sequence[str]) -> None:
        if tuple(columns) != self.COLUMNS:
            raise DataError(
                f"{self.path} has the columns {', '.join(columns)}; expected those of PolicyLog: "
                f"{', '.join(self.COLUMNS)}. Move the file, or choose another folder."
            )

    def _parsed(self, row: Mapping[str, str]) -> dict[str, Any]:
        numbers = {name: float(row[name]) if row[name] else math.nan for name in self.NUMBERS}
        turned_down = bool(int(row["turned_down"]))
        return {**row, **numbers, "epoch": int(row["epoch"]), "turned_down": turned_down}


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and math.isnan(value) else value
