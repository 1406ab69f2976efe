# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.exceptions import DataError
from monai_gmcl.names import shown_name

__all__ = ["EpochTable"]


class EpochTable:
    """A CSV file with one row of numbers for each epoch.

    The file is always whole: it is written beside its place and then moved there. Columns that come later are
    appended, and are empty in the rows before. A number that is unknown (NaN) is an empty cell.

    Args:
        path: of the file; its folder must exist.
    """

    KEY = "epoch"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> list[dict[str, float]]:
        """Return the rows that the file holds, none if there is no file.

        Raises:
            DataError: the file is no table of numbers by epoch.
        """
        if not self.path.is_file():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            try:
                rows = [{name: float(cell) for name, cell in row.items() if cell} for row in reader]
            except (TypeError, ValueError, csv.Error) as error:
                raise DataError(f"{self.path}, line {reader.line_num}: expected numbers only ({error}).") from error
        if not all(self.KEY in row for row in rows):
            raise DataError(f"{self.path} must have a column {self.KEY!r} with a number in each row.")
        return rows

    def put(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Write the row of an epoch; rows of this and of later epochs, from a run that was resumed, go.

        Raises:
            DataError: there is a file, and it is no table of numbers by epoch.
            OutputError: the file cannot be written.
        """
        numbers = {shown_name(name): number for name, number in numbers.items()}
        rows = [row for row in self.read() if row[self.KEY] < epoch]
        rows.append({self.KEY: epoch, **{name: n for name, n in numbers.items() if not math.isnan(n)}})
        columns = dict.fromkeys([*self._header(), self.KEY, *numbers])
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(columns))
        writer.writeheader()
        writer.writerows({**row, self.KEY: int(row[self.KEY])} for row in rows)
        write_whole(self.path, text.getvalue())

    def _header(self) -> list[str]:
        if not self.path.is_file():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
