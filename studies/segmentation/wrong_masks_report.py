# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of wrong masks, also of part of the study: ``python -m studies.segmentation.wrong_masks_report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import pandas as pd

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.benchmark.report.formats import NONE, mean_text, short
from monai_gmcl.exceptions import DataError
from monai_gmcl.reporting.page import Section, Table, markdown_page
from studies.grid import facts_of, read_rows
from studies.paired_arms import paired_difference_text
from studies.segmentation.mask_arms import ARMS
from studies.segmentation.mask_errors import MASKS
from studies.segmentation.report import CHECKPOINTS
from studies.segmentation.wrong_masks import EQUAL, NEEDED

__all__ = ["page", "report"]

PROBLEM = ["part", "errors", "share", "n", "trusted", "steps"]
COLUMNS = [(way, which) for way in EQUAL for which in CHECKPOINTS]


def report(
    rows: str = "studies/segmentation/wrong_masks.jsonl", out: str = "studies/segmentation/wrong_masks.md"
) -> None:
    """Write the tables.

    Args:
        rows: file of :mod:`studies.segmentation.wrong_masks`.
        out: Markdown file.

    Raises:
        DataError: no rows, or a damaged line.
    """
    found = read_rows(Path(rows), NEEDED)
    if not found:
        raise DataError(f"Expected rows in {rows}, found none: run studies.segmentation.wrong_masks.")
    write_whole(Path(out), page(found).encode())
    print(f"{len(found)} rows: {out}")


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the tables of the study's rows in Markdown: a section for each problem."""
    # A run of ours is compared both ways.
    ours = [
        {**row, "settings": {**row["settings"], "equal": way}}
        for row in rows
        for way in EQUAL
        if ARMS[row["settings"]["arm"]].ours is not None
    ]
    others = [row for row in rows if ARMS[row["settings"]["arm"]].ours is None]
    table = pd.DataFrame([{**row["settings"], **row["dice"], **_weights(row)} for row in [*others, *ours]])
    sections = [
        Section(
            f"{part}, {share:.0%} of {n} masks wrong ({errors}), {trusted} trusted, {steps} steps of ours",
            tables=[_levels(cell), _lost(cell), *_told(cell)],
        )
        for (part, errors, share, n, trusted, steps), cell in table.groupby(PROBLEM, sort=False)
    ]
    return markdown_page("Wrong masks", facts_of(rows), sections)


def _weights(row: dict[str, Any]) -> dict[str, float]:
    return {**row.get("weights", {}), "weights_auc": row.get("weights_auc", float("nan"))}


def _arms(cell: pd.DataFrame) -> list[str]:
    return [arm for arm in ARMS if arm in set(cell["arm"])]


def _levels(cell: pd.DataFrame) -> Table:
    rows = []
    for arm in _arms(cell):
        runs = cell[cell["arm"] == arm]
        own = [runs[runs["equal"] == way][which] for way, which in COLUMNS]
        means = map(mean_text, own)
        rows.append([ARMS[arm].title, *means, " / ".join(str(len(own[i])) for i in (0, 2))])
    columns = ["arm", *(f"equal {way}: {CHECKPOINTS[which]}" for way, which in COLUMNS), "seeds"]
    return Table("Dice", columns, rows, "Mean ± standard deviation over seeds; a run of ours stands in both columns.")


def _lost(cell: pd.DataFrame) -> Table:
    """Right masks minus each other arm, paired by seed, and as a share of what equal weights lose."""
    ways = {way: cell[cell["equal"] == way] for way in EQUAL}
    rows = []
    for arm in [arm for arm in _arms(cell) if arm != "right"]:
        told = [ARMS[arm].title]
        for way, which in COLUMNS:
            told.append(_lost_text(ways[way], arm, which))
        rows.append(told)
    columns = ["right masks −", *(f"equal {way}: {CHECKPOINTS[which]}" for way, which in COLUMNS)]
    return Table("Lost", columns, rows, "Dice that the arm loses; as a share of what equal weights lose, same seeds.")


def _lost_text(runs: pd.DataFrame, arm: str, which: str) -> str:
    if not {"right", arm} <= set(runs["arm"]):
        return NONE
    text = paired_difference_text(runs, "errors", "right", arm, which)
    wide = runs.pivot(index="seed", columns="arm", values=which)
    if "equal" not in wide:
        return text
    seeds = wide[["right", "equal", arm]].dropna().index
    lost, equal = ((wide["right"] - wide[one])[seeds].mean() for one in (arm, "equal"))
    return f"{text}; {short(lost / equal, 2)}" if equal > 0 else text


def _told(cell: pd.DataFrame) -> list[Table]:
    """How lessons weighed images, by what was done with their masks."""
    runs = cell[cell["weights_auc"].notna() & (cell["equal"] == EQUAL[0])]
    if runs.empty:
        return []
    columns = [kind for kind in MASKS if kind in runs]
    rows = [
        [ARMS[arm].title, *(short(own[kind].mean(), 2) for kind in columns), short(own["weights_auc"].mean(), 2)]
        for arm, own in runs.groupby("arm", sort=False)
    ]
    note = "Mean weight in lessons after the first quarter of the run, and AUC of the weight as a score of right masks."
    return [Table("Weights of images", ["arm", *columns, "AUC"], rows, note)]


if __name__ == "__main__":
    fire.Fire(report)
