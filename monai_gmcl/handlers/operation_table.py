# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.exceptions import DataError

__all__ = ["OperationTable"]

NUMBERS = ("low", "high", "probability", "share", "effect", "standard_error")
COLUMNS = (
    "epoch",
    "operation",
    "low",
    "high",
    "unit",
    "probability",
    "share",
    "effect",
    "standard_error",
    "turned_down",
)


class OperationTable:
    """A CSV file of policies: one row for each epoch and operation.

    The file is always whole, as that of :class:`EpochTable`. A number that is unknown (NaN) is an empty cell;
    ``turned_down`` is 1 or 0.

    Args:
        path: of the file; its folder must exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> list[dict[str, Any]]:
        """Return the rows that the file holds, none if there is no file.

        Raises:
            DataError: the file is no such table.
        """
        if not self.path.is_file():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            try:
                found = tuple(reader.fieldnames or ())
                rows = [_parsed(row) for row in reader] if found == COLUMNS else []
            except (TypeError, ValueError, csv.Error) as error:
                raise DataError(f"{self.path}, line {reader.line_num}: not a row of PolicyLog ({error}).") from error
        if found != COLUMNS:
            raise DataError(
                f"{self.path} has the columns {', '.join(found)}; expected those of PolicyLog: {', '.join(COLUMNS)}. "
                "Move it away, or choose another folder."
            )
        return rows

    def put(self, epoch: int, policy: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the rows of an epoch; rows of this and of later epochs, from a run that was resumed, go.

        Args:
            epoch: which one.
            policy: of ``PolicyTeacher.policy``, with effects.

        Raises:
            DataError: there is a file, and it is no such table.
        """
        rows = [row for row in self.read() if row["epoch"] < epoch]
        rows += [{"epoch": epoch, "operation": name, **row} for name, row in policy.items()]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows({name: _cell(row[name]) for name in COLUMNS} for row in rows)
        write_whole(self.path, text.getvalue().encode())


def _parsed(row: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: float(row[name]) if row[name] else math.nan for name in NUMBERS}
    turned_down = bool(int(row["turned_down"]))
    return {**row, **numbers, "epoch": int(row["epoch"]), "turned_down": turned_down}


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and math.isnan(value) else value
