# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The study's tables, also of part of a study: ``python -m studies.wrong_labels.report --rows FILE --out FILE``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import pandas as pd

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.benchmark.report.formats import mean_text
from monai_gmcl.exceptions import DataError
from monai_gmcl.reporting.page import Section, Table, markdown_page
from studies.grid import checked_names, facts_of, read_rows
from studies.paired_arms import paired_difference_text
from studies.policies.rows import WEIGHTS
from studies.wrong_labels.arms import ARMS
from studies.wrong_labels.run import NEEDED

__all__ = ["page", "report"]

CHAPTER = ["part", "steps", "equal"]
PROBLEM = ["noise", "share", "trusted", "n"]
RUN = [*CHAPTER, *PROBLEM, "data", "seed", "arm"]


def report(
    rows: str | Sequence[str] = "studies/wrong_labels/rows.jsonl",
    out: str = "studies/wrong_labels/report.md",
    ours: str = "ours",
) -> None:
    """Write the tables.

    Args:
        rows: files of :mod:`studies.wrong_labels.run`, separated by commas.
        out: Markdown file.
        ours: the arm that the others are held against.

    Raises:
        ConfigurationError: an unknown arm.
        DataError: no rows, a damaged line, or two rows of the same run.
    """
    (chosen,) = checked_names("ours", ours, ARMS)
    files = rows.split(",") if isinstance(rows, str) else list(rows)
    found = [row for file in files for row in read_rows(Path(file), NEEDED)]
    if not found:
        raise DataError(f"Expected rows of the study in {', '.join(files)}, found none: run studies.wrong_labels.run.")
    write_whole(Path(out), page(found, chosen).encode())
    print(f"{len(found)} rows: {out}")


def page(rows: Sequence[dict[str, Any]], ours: str = "ours") -> str:
    """Return the page in Markdown: a section for each part, number of steps and way to make arms equal.

    Args:
        rows: of the study.
        ours: the arm that the others are held against.

    Raises:
        DataError: two rows of the same run.
    """
    table = pd.DataFrame([{**row["settings"], **row["auc"]} for row in rows])
    if (twice := table.duplicated(RUN)).any():
        raise DataError(f"Expected one row of each run, found two of {table.loc[twice, RUN].iloc[0].to_dict()}.")
    sections = []
    for (part, steps, equal), chapter in table.groupby(CHAPTER, sort=False):
        tables = [
            made
            for problem, cell in chapter.groupby(PROBLEM)
            for made in (_levels(cell, _name(problem)), _differences(cell, ours, _name(problem)))
        ]
        sections.append(Section(f"{part}, {steps} steps of ours, equal {equal}", tables=tables))
    return markdown_page("Wrong labels", facts_of(rows), sections)


def _name(problem: Any) -> str:
    noise, share, trusted, n = problem
    return f"{noise.replace('_', ' ')}, {share:.0%} false of {n}, {trusted} trusted"


def _arms(cell: pd.DataFrame) -> list[str]:
    return [arm for arm in ARMS if arm in set(cell["arm"])]


def _levels(cell: pd.DataFrame, name: str) -> Table:
    data = sorted(set(cell["data"]))
    columns = ["arm", *(f"{source}: {told}" for source in data for told in WEIGHTS.values()), "seeds"]
    rows = []
    for arm in _arms(cell):
        own = [cell[(cell["arm"] == arm) & (cell["data"] == source)] for source in data]
        means = [mean_text(runs[weights]) for runs in own for weights in WEIGHTS]
        rows.append([ARMS[arm].title, *means, " / ".join(str(len(runs)) for runs in own)])
    return Table(name, columns, rows, "AUC, mean ± standard deviation over seeds.")


def _differences(cell: pd.DataFrame, ours: str, name: str) -> Table:
    """Ours minus each other arm, paired by seed, pooled over the data sets."""
    columns = [f"{ARMS[ours].title} −", *WEIGHTS.values()]
    rows = [
        [ARMS[arm].title, *(paired_difference_text(cell, "data", ours, arm, weights) for weights in WEIGHTS)]
        for arm in _arms(cell)
        if arm != ours
    ]
    note = "Mean paired difference over data sets with its 95 % interval; without one where a data set has one seed."
    return Table(name, columns, rows, note)


if __name__ == "__main__":
    fire.Fire(report)
