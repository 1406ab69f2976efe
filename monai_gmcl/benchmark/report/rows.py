# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The runs of a comparison on disk, and queries of their results."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import ARMS, WITHIN_BUDGET
from monai_gmcl.benchmark.report.paired_difference import PairedDifference, pooled_difference
from monai_gmcl.exceptions import DataError

__all__ = ["CHECKPOINTS", "PRIMARY", "TITLES", "WEIGHTS", "Cell", "Results", "score", "titles_of"]

CHECKPOINTS = {
    "chosen": "best-validation checkpoint",
    "final": "last checkpoint",
    "ema_chosen": "EMA, best-validation",
    "ema_final": "EMA, last",
}
"""The weights of a row, by the names that tables and figures give them."""
WEIGHTS = tuple(CHECKPOINTS)
PRIMARY = "chosen"
"""The weights that a user would keep."""
SPLITS = ("test", "test_shifted", "held_out")
NEEDED = ("data", "n", "seed", "arm", "measures")


@dataclass(frozen=True, order=True)
class Cell:
    """Where arms are compared: a data set, the part of it that was measured on, a number of labeled images.

    ``metric`` is the key of the measure that is compared: ``auc``, or with masks ``dice``.
    """

    data: str
    split: str
    n: int
    metric: str = "auc"

    @property
    def measure(self) -> str:
        """The metric as the report calls it."""
        return {"auc": "AUC", "dice": "Dice"}[self.metric]


def score(cell: Cell, weights: str = PRIMARY) -> tuple[str, ...]:
    """Return where a row keeps the metric of a cell, for :meth:`Results.numbers`."""
    return ("measures", cell.split, weights, cell.metric)


def titles_of(arms: Mapping[str, Arm]) -> dict[str, str]:
    """Return what a report calls arms, in their order; tuned ones also as tuned within the budget of one run."""
    found = {}
    for name, arm in arms.items():
        found[name] = arm.title
        if arm.tuned:
            found[name + WITHIN_BUDGET] = f"{arm.title}, tuned within the budget"
    return found


TITLES = titles_of(ARMS)
"""Arms as tables list them; others follow by name."""


class Results:
    """Rows of the newest protocol, one for each data set, number of labeled images, arm, seed and measured part.

    Numbers of a row are named by the keys that lead to them, as ``"cost", "tuning", "flops"``. Rows come with their
    files, which a DataError names. Arms without a title follow by name, with the titles of their rows. ``left_out`` is
    how many rows of older protocols were left out.
    """

    def __init__(self, rows: Iterable[tuple[Path, dict[str, Any]]], titles: Mapping[str, str] = TITLES) -> None:
        self.titles = titles
        found = list(rows)
        for file, row in found:
            if missing := [name for name in NEEDED if name not in row]:
                raise DataError(
                    f"{str(file)!r}: expected the JSON of a run, but these keys are missing: {', '.join(missing)}."
                )
        newest = max((_protocol(row) for _, row in found), default=0)
        kept = [(file, row) for file, row in found if _protocol(row) == newest]
        self.rows = [row for _, row in kept]
        self.left_out = len(found) - len(kept)
        self._own_titles = {row["arm"]: row["title"] for row in self.rows if "title" in row}
        self._by_arm: dict[tuple[Cell, str], dict[int, dict[str, Any]]] = {}
        files: dict[tuple[Cell, str, int], Path] = {}
        for file, row in kept:
            for split in row["measures"]:
                metric = "dice" if "valid_dice" in row else "auc"
                cell, arm, seed = Cell(row["data"], split, row["n"], metric), row["arm"], row["seed"]
                if other := files.get((cell, arm, seed)):
                    raise DataError(
                        f"{str(file)!r} and {str(other)!r} are runs of the same arm, seed and images with different "
                        "settings, such as the number of steps. Expected one of them. Move the others to another "
                        "folder."
                    )
                files[cell, arm, seed] = file
                self._by_arm.setdefault((cell, arm), {})[seed] = row

    @classmethod
    def read(cls, folder: Path, titles: Mapping[str, str] = TITLES) -> Results:
        """Read ``<folder>/runs/*.json``; titles as for the class. DataError for no runs, or files that are none."""
        files = sorted((folder / "runs").glob("*.json"))
        if not files:
            raise DataError(f"Expected runs of a comparison in {str(folder / 'runs')!r}, found no JSON file.")
        return cls(((file, _read(file)) for file in files), titles)

    def title(self, arm: str) -> str:
        """Return what the report calls an arm."""
        return self.titles.get(arm) or self._own_titles.get(arm) or arm.replace("_", " ")

    def places(self) -> list[tuple[str, str]]:
        """Return data sets and measured parts, the test set first."""
        found = {(cell.data, cell.split) for cell, _ in self._by_arm}
        return sorted(found, key=lambda place: (place[0], _rank(SPLITS, place[1])))

    def primary_places(self) -> list[tuple[str, str]]:
        """Return the first measured part of each data set."""
        return [(data, self.primary_split(data)) for data in dict.fromkeys(data for data, _ in self.places())]

    def primary_split(self, data: str) -> str:
        """Return ``test`` where it was read, else what was."""
        return next((split for name, split in self.places() if name == data), SPLITS[0])

    def cells(self, data: str, split: str) -> list[Cell]:
        """Return the cells of a place, by number of labeled images."""
        return sorted({cell for cell, _ in self._by_arm if (cell.data, cell.split) == (data, split)})

    def arms(self, cells: Sequence[Cell] | None = None) -> list[str]:
        """Return the arms with a run in some of the cells, by default in any."""
        found = {arm for cell, arm in self._by_arm if cells is None or cell in cells}
        return sorted(found, key=lambda arm: _rank(list(self.titles), arm))

    def seeds(self, cell: Cell, arm: str) -> list[int]:
        """Return the seeds that an arm was run with."""
        return sorted(self._by_arm.get((cell, arm), {}))

    def of(self, cell: Cell, arm: str) -> list[dict[str, Any]]:
        """Return the rows of an arm, by seed."""
        return [self._by_arm[cell, arm][seed] for seed in self.seeds(cell, arm)]

    def numbers(self, cell: Cell, arm: str, *path: str, machine: str | None = None) -> pd.Series:
        """Return a number by seed, of the rows that have one and, where it is named, were made on a kind of machine."""
        rows = self._by_arm.get((cell, arm), {})
        found = {seed: _leaf(row, path) for seed, row in rows.items() if machine in (None, row.get("machine"))}
        return pd.Series({seed: value for seed, value in found.items() if math.isfinite(value)}, dtype=float)

    def mean(self, cell: Cell, arm: str, *path: str, machine: str | None = None) -> float | None:
        """Return the mean over seeds, None if there is no number; times compare on one kind of machine alone."""
        numbers = self.numbers(cell, arm, *path, machine=machine)
        return float(numbers.mean()) if len(numbers) else None

    def machine(self, data: str) -> str | None:
        """Return the kind of machine on which most runs of a data set were made."""
        found = Counter(row.get("machine") for row in self.rows if row["data"] == data)
        return found.most_common(1)[0][0] if found else None

    def machines(self, cell: Cell, *arms: str) -> list[str | None]:
        """Return the kinds of machine on which each of some arms was run, the one with most runs first."""
        kinds = [[row.get("machine") for row in self.of(cell, arm)] for arm in arms]
        shared = set(kinds[0]).intersection(*kinds[1:])
        return [machine for machine, _ in Counter(sum(kinds, [])).most_common() if machine in shared]

    def differences(self, cell: Cell, ours: str, theirs: str, *path: str) -> pd.Series:
        """Return ours minus theirs of each seed that both have."""
        return (self.numbers(cell, ours, *path) - self.numbers(cell, theirs, *path)).dropna()

    def difference(self, cell: Cell, ours: str, theirs: str, *path: str) -> PairedDifference | None:
        """Return the paired difference of two arms over the seeds that both have, None if they share none."""
        found = self.differences(cell, ours, theirs, *path)
        return pooled_difference([found]) if len(found) else None

    def pairs(self, cell: Cell, ours: str, theirs: str) -> int:
        """Return how many seeds two arms share that have a score."""
        return len(self.differences(cell, ours, theirs, *score(cell)))

    def pooled(self, cells: Sequence[Cell], ours: str, theirs: str, weights: str = PRIMARY) -> PairedDifference | None:
        """Return the difference of scores over cells in which both arms share two seeds or more, None without such."""
        found = [self.differences(cell, ours, theirs, *score(cell, weights)) for cell in cells]
        enough = [cell for cell in found if len(cell) > 1]
        return pooled_difference(enough) if enough else None


def _leaf(row: Any, path: Sequence[str]) -> float:
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return float(row) if isinstance(row, int | float) else math.nan


def _protocol(row: dict[str, Any]) -> int:
    return int(row.get("settings", {}).get("protocol", 0))


def _rank(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _read(file: Path) -> dict[str, Any]:
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{str(file)!r}: expected the JSON object of a run, found invalid JSON: {error}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{str(file)!r}: expected the JSON object of a run, found {type(row).__name__}.")
    return row
