# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the report, from the rows of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai_gmcl.benchmark.report.formats import NONE, difference_text, mean_text, sized
from monai_gmcl.benchmark.report.rows import WEIGHTS, Cell, Results, auc
from monai_gmcl.reporting.page import Table

__all__ = [
    "ARM_NOTE",
    "arm_table",
    "cost_table",
    "difference_table",
    "measure_table",
    "synthetic_table",
    "table_by_arm",
]

MEASURES = ("accuracy", "sensitivity", "specificity", "ece")
GMCL = "gmcl"
TERA, MEBI = 1e12, 2**20


ARM_NOTE = (
    "Mean ± standard deviation over seeds; mean of the paired differences (same seeds, same images) and its 95 % "
    "interval, ▲ ▼ where that is above or below 0. Chosen: weights best on the validation images; final: those of the "
    "last step; EMA: running average of the weights."
)
"""What is in :func:`arm_table`."""


def arm_table(results: Results, cell: Cell) -> Table:
    """Return how each arm did in a cell: seeds, AUC of each kind of weights, and how far it is from GMCL's."""

    def texts(arm: str) -> list[str]:
        means = {name: mean_text(results.numbers(cell, arm, *auc(cell, name)).values()) for name in WEIGHTS}
        gaps = {
            name: NONE if arm == GMCL else difference_text(results.difference(cell, arm, GMCL, *auc(cell, name)))
            for name in ("chosen", "final")
        }
        seeds = str(len(results.seeds(cell, arm)))
        own = [means["chosen"], gaps["chosen"], means["final"], gaps["final"]]
        return [results.title(arm), seeds, *own, means["ema_chosen"], means["ema_final"]]

    columns = ["arm", "seeds", "chosen", "chosen − GMCL", "final", "final − GMCL", "EMA, chosen", "EMA, final"]
    return Table(
        f"AUC, n = {cell.n}",
        columns,
        [texts(arm) for arm in results.arms([cell])],
    )


def difference_table(results: Results, cells: Sequence[Cell], theirs: str, weights: str) -> Table:
    """Return the paired difference of each arm to one, by numbers of labeled images and pooled over them."""
    rows = [
        [
            results.title(arm),
            *(difference_text(results.difference(cell, arm, theirs, *auc(cell, weights))) for cell in cells),
            difference_text(results.pooled(cells, arm, theirs, weights)),
        ]
        for arm in results.arms(cells)
        if arm != theirs
    ]
    return Table(
        f"AUC minus that of {results.title(theirs)}, {weights.replace('_', ' ')} weights",
        ["arm", *(f"n = {cell.n}" for cell in cells), "all n"],
        rows,
        "Paired, with 95 % intervals; all n: mean over them.",
    )


def measure_table(results: Results, cells: Sequence[Cell], weights: str) -> Table:
    """Return accuracy, sensitivity, specificity and calibration error."""
    return table_by_arm(
        results,
        cells,
        f"Other measures, {weights.replace('_', ' ')} weights",
        ["accuracy", "sensitivity", "specificity", "ECE"],
        lambda cell, arm: [
            mean_text(results.numbers(cell, arm, "measures", cell.split, weights, name).values()) for name in MEASURES
        ],
        "Expected calibration error of 15 bins: less is better.",
    )


def cost_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return what a run costs, and what the runs cost that tuned it."""
    machine = results.machine(cells[0].data)

    def texts(cell: Cell, arm: str) -> list[str]:
        def here(name: str, unit: float, *tuning: str) -> str:
            return sized(results.mean_on(machine, cell, arm, "cost", *tuning, name), unit)

        def of(name: str, unit: float) -> str:
            return sized(results.mean(cell, arm, "cost", name), unit)

        def tuning(name: str, unit: float) -> str:
            return sized(results.mean(cell, arm, "cost", "tuning", name), unit)

        def beside_gmcl(name: str) -> str:
            ours, theirs = (results.mean(cell, one, "cost", name) for one in (arm, GMCL))
            return f"{ours / theirs:.2f}" if ours and theirs else NONE

        return [
            sized(results.mean(cell, arm, "settings", "steps"), 1),
            of("flops", TERA),
            beside_gmcl("flops"),
            tuning("flops", TERA),
            here("wall_seconds", 1),
            here("wall_seconds", 1, "tuning"),
            here("cpu_seconds", 1),
            of("student_passes", 1e3),
            beside_gmcl("student_passes"),
            here("peak_memory_bytes", MEBI),
        ]

    return table_by_arm(
        results,
        cells,
        "Cost of a run",
        [
            *("steps", "TFLOP", "of GMCL's", "tuning, TFLOP", "wall, s", "tuning, wall s", "CPU, s"),
            *("1000 student passes", "of GMCL's", "peak memory, MiB"),
        ],
        texts,
        "Means over seeds. Counted operations of everything that is trained. Arms without a teacher get the steps that "
        "GMCL's operations buy, those with lessons GMCL's steps. "
        "Tuning: the other strengths that a user would have to run; it comes on top. Times and memory (of "
        "a GPU: its own) are those of runs on one kind of "
        f"machine: {machine or 'unknown'}.",
    )


def synthetic_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return how diverse the synthetic images are, and how near to the labeled ones."""

    def texts(cell: Cell, arm: str) -> list[str]:
        names = ("diversity", "diversity_real", "memorization")
        return [mean_text(results.numbers(cell, arm, "synthetic", name).values()) for name in names]

    return table_by_arm(
        results,
        cells,
        "Synthetic images",
        ["diversity", "diversity of labeled images", "memorization"],
        texts,
        "Memorization: share of images nearer to a labeled one than 5 % of those are to another; lessons, changed real "
        "images, are near by design.",
        only=lambda row: row.get("synthetic") is not None,
    )


def table_by_arm(
    results: Results,
    cells: Sequence[Cell],
    title: str,
    columns: Sequence[str],
    texts: Callable[[Cell, str], list[str]],
    note: str = "",
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> Table:
    """Return a table of a line for each arm and number of labels.

    Args:
        results: of the runs.
        cells: to list.
        title: of the table.
        columns: after those of arm and n.
        texts: of these columns, for a cell and an arm.
        note: below the table.
        only: which rows an arm must have one of to be listed.
    """
    rows = [
        [results.title(arm), str(cell.n), *texts(cell, arm)]
        for cell in cells
        for arm in results.arms([cell])
        if any(map(only, results.of(cell, arm)))
    ]
    return Table(title, ["arm", "n", *columns], rows, note)
