# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the report, from the rows of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai_gmcl.benchmark.report.formats import NONE, difference_text, mean_text, sized
from monai_gmcl.benchmark.report.rows import CHECKPOINTS, WEIGHTS, Cell, Results, score
from monai_gmcl.reporting.page import Table

__all__ = [
    "arm_note",
    "arm_table",
    "cost_table",
    "difference_table",
    "measure_table",
    "synthetic_table",
    "table_by_arm",
]

MEASURES = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "ece": "ECE"}
MASK_MEASURES = {"iou": "IoU"}
GMCL = "gmcl"
TERA, MEBI = 1e12, 2**20
ANYWHERE, HERE, BESIDE_GMCL = "of all runs", "of one kind of machine", "in units of GMCL's"
COSTS = (
    ("steps", 1, ANYWHERE, ("settings", "steps")),
    ("TFLOP", TERA, ANYWHERE, ("cost", "flops")),
    ("TFLOP / GMCL", 1, BESIDE_GMCL, ("cost", "flops")),
    ("tuning, TFLOP", TERA, ANYWHERE, ("cost", "tuning", "flops")),
    ("wall time, s", 1, HERE, ("cost", "wall_seconds")),
    ("tuning, wall time, s", 1, HERE, ("cost", "tuning", "wall_seconds")),
    ("CPU time, s", 1, HERE, ("cost", "cpu_seconds")),
    ("1000 student passes", 1e3, ANYWHERE, ("cost", "student_passes")),
    ("student passes / GMCL", 1, BESIDE_GMCL, ("cost", "student_passes")),
    ("peak memory, MiB", MEBI, HERE, ("cost", "peak_memory_bytes")),
)
"""Columns of the table of costs: heading, unit, which runs count, where a row has it."""

MASK_NOTE = (
    "Dice is the mean over an image's classes without the background, averaged over images. Strong transforms are "
    "those of nnU-Net."
)


def arm_note(cell: Cell) -> str:
    """Return what is in :func:`arm_table`."""
    note = (
        "Scores are mean ± standard deviation over seeds. Differences are paired (same seed and images), with their 95 "
        "% interval; ▲ and ▼ mark intervals above and below 0. The best-validation checkpoint has the highest "
        f"{cell.measure} on the validation images; the last checkpoint is that of the last step. EMA is the "
        "exponential moving average of the weights."
    )
    return f"{note} {MASK_NOTE}" if cell.metric == "dice" else note


def arm_table(results: Results, cell: Cell) -> Table:
    """Return how each arm did in a cell: seeds, score of each kind of weights, and how far it is from GMCL's."""

    def texts(arm: str) -> list[str]:
        means = {name: mean_text(results.numbers(cell, arm, *score(cell, name))) for name in WEIGHTS}
        gaps = {
            name: NONE if arm == GMCL else difference_text(results.difference(cell, arm, GMCL, *score(cell, name)))
            for name in ("chosen", "final")
        }
        seeds = str(len(results.seeds(cell, arm)))
        own = [means["chosen"], gaps["chosen"], means["final"], gaps["final"]]
        return [results.title(arm), seeds, *own, means["ema_chosen"], means["ema_final"]]

    own = [title for name in ("chosen", "final") for title in (CHECKPOINTS[name], "minus GMCL")]
    columns = ["method", "seeds", *own, CHECKPOINTS["ema_chosen"], CHECKPOINTS["ema_final"]]
    return Table(f"{cell.measure}, n = {cell.n}", columns, [texts(arm) for arm in results.arms([cell])])


def difference_table(results: Results, cells: Sequence[Cell], theirs: str, weights: str) -> Table:
    """Return the paired difference of each arm to one, by numbers of labeled images and pooled over them."""
    rows = [
        [
            results.title(arm),
            *(difference_text(results.difference(cell, arm, theirs, *score(cell, weights))) for cell in cells),
            difference_text(results.pooled(cells, arm, theirs, weights)),
        ]
        for arm in results.arms(cells)
        if arm != theirs
    ]
    return Table(
        f"{cells[0].measure} minus that of {results.title(theirs)}, {CHECKPOINTS[weights]}",
        ["method", *(f"n = {cell.n}" for cell in cells), "all n"],
        rows,
        "Differences are paired, with 95 % intervals. 'all n' is their mean over n.",
    )


def measure_table(results: Results, cells: Sequence[Cell], weights: str) -> Table:
    """Return accuracy, sensitivity, specificity and calibration error; of masks, IoU and the Dice of each class."""
    names, note = dict(MEASURES), "ECE is the expected calibration error with 15 bins; lower is better."
    if cells[0].metric == "dice":
        known = results.of(cells[0], results.arms(cells[:1])[0])[0]["measures"][cells[0].split][weights]
        classes = (name for name in known if name.startswith("dice_class_"))
        names, note = (
            {**MASK_MEASURES, **{name: name.replace("dice_", "Dice, ").replace("_", " ") for name in classes}},
            "",
        )
    return table_by_arm(
        results,
        cells,
        f"Other measures, {CHECKPOINTS[weights]}",
        list(names.values()),
        lambda cell, arm: [
            mean_text(results.numbers(cell, arm, "measures", cell.split, weights, name)) for name in names
        ],
        note,
    )


def cost_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return what a run costs, and what the runs cost that tuned it."""
    machine = results.machine(cells[0].data)

    def texts(cell: Cell, arm: str) -> list[str]:
        found = []
        for _, unit, where, path in COSTS:
            mean = results.mean(cell, arm, *path, machine=machine if where == HERE else None)
            if where != BESIDE_GMCL:
                found.append(sized(mean, unit))
                continue
            theirs = results.mean(cell, GMCL, *path)
            found.append(f"{mean / theirs:.2f}" if mean and theirs else NONE)
        return found

    note = (
        "Means over seeds. FLOPs are those of all trained networks. Methods without a teacher get as many steps as "
        "cost GMCL's FLOPs; methods with lessons get GMCL's number of steps. Tuning is the cost of the runs at other "
        "strengths, which the cost of a run does not include. Times and peak memory (of the GPU, if the machine has "
        f"one) were measured on: {machine or 'unknown machine'}."
    )
    return table_by_arm(results, cells, "Cost of a run", [heading for heading, *_ in COSTS], texts, note)


def synthetic_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return how diverse the synthetic images are, and how near to the labeled ones."""

    def texts(cell: Cell, arm: str) -> list[str]:
        names = ("diversity", "diversity_real", "memorization")
        return [mean_text(results.numbers(cell, arm, "synthetic", name)) for name in names]

    return table_by_arm(
        results,
        cells,
        "Synthetic images",
        ["diversity", "diversity of labeled images", "memorization"],
        texts,
        "Diversity is the mean distance between images of a class. Memorization is the share of synthetic images whose "
        "distance to the nearest labeled image is below the 5 % quantile of distances between labeled images. Lessons "
        "are changed real images, so their distances are small by design.",
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

    ``texts`` gives the cells of ``columns`` for a cell and an arm; an arm is listed where ``only`` holds for a row.
    """
    rows = [
        [results.title(arm), str(cell.n), *texts(cell, arm)]
        for cell in cells
        for arm in results.arms([cell])
        if any(map(only, results.of(cell, arm)))
    ]
    return Table(title, ["method", "n", *columns], rows, note)
