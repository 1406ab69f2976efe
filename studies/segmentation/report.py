# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The study's tables, also of part of a study: ``python -m studies.segmentation.report``."""

from __future__ import annotations

from pathlib import Path

import fire
import pandas as pd

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.benchmark.report.formats import mean_text
from monai_gmcl.exceptions import DataError
from monai_gmcl.reporting.page import Section, Table, markdown_page
from studies.json_lines import read_rows
from studies.paired_arms import paired_difference_text
from studies.segmentation.arms import ARMS, UNLABELED_ARMS

__all__ = ["page", "report"]

CHECKPOINTS = {"chosen": "best-validation", "final": "last"}


def report(
    rows: str = "studies/segmentation/rows.jsonl",
    out: str = "studies/segmentation/report.md",
    ours: str = "gmcl_flips",
) -> None:
    """Write the tables.

    Args:
        rows: file of :mod:`studies.segmentation.run`.
        out: Markdown file.
        ours: the arm with which the others are compared.

    Raises:
        DataError: no rows.
    """
    write_whole(Path(out), page(rows, ours).encode())
    print(out)


def page(rows: str, ours: str = "gmcl_flips") -> str:
    """Return the tables of a file of rows in Markdown."""
    found = read_rows(rows)
    if not found:
        raise DataError(f"Expected rows in {rows}, found none: run studies.segmentation.run.")
    table = pd.DataFrame([{**row["settings"], **row["dice"]} for row in found])
    sections = [
        Section(f"{name}, {steps} steps, {part}", tables=[*_tables(own, ours), *_with_unlabeled(own)])
        for (name, steps, part), own in table.groupby(["set", "steps", "part"], sort=False)
    ]
    return markdown_page("Segmentation", [("runs", [str(len(found))])], sections)


def _tables(own: pd.DataFrame, ours: str) -> list[Table]:
    runs = own[~own["arm"].isin(UNLABELED_ARMS)]
    return [] if runs.empty else [_levels(runs, "Dice"), _differences(runs, ours, "Paired differences")]


def _with_unlabeled(own: pd.DataFrame) -> list[Table]:
    """Lessons with and without unlabeled images, on the seeds with both."""
    *_, ours = UNLABELED_ARMS
    cells = own.loc[own["arm"] == ours, ["n", "seed"]]
    if cells.empty:
        return []
    runs = own[own["arm"].isin(["gmcl_flips", *UNLABELED_ARMS])].merge(cells)
    return [_levels(runs, "Dice, unlabeled images"), _differences(runs, ours, "Paired differences, unlabeled images")]


def _levels(own: pd.DataFrame, title: str) -> Table:
    cells = [(n, which) for n in sorted(set(own["n"])) for which in CHECKPOINTS]
    rows = []
    for arm in [arm for arm in ARMS if arm in set(own["arm"])]:
        runs = own[own["arm"] == arm]
        means = [mean_text(runs[runs["n"] == n][which]) for n, which in cells]
        rows.append([arm, *means, str(len(set(runs["seed"])))])
    columns = ["arm", *(f"n = {n}: {CHECKPOINTS[which]}" for n, which in cells), "seeds"]
    return Table(title, columns, rows, "Mean Dice of the test images, mean ± standard deviation over seeds.")


def _differences(own: pd.DataFrame, ours: str, title: str) -> Table:
    """Ours minus each other arm, paired by seed, pooled over the numbers of images."""
    arms = [arm for arm in ARMS if arm in set(own["arm"]) and arm != ours]
    rows = [[arm, *(paired_difference_text(own, "n", ours, arm, which) for which in CHECKPOINTS)] for arm in arms]
    return Table(title, [f"{ours} −", *CHECKPOINTS.values()], rows, "With 95 % intervals.")


if __name__ == "__main__":
    fire.Fire(report)
