# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The tables of the report, from the rows of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai_gmcl.benchmark.report.formats import NONE, difference_text, mean_text, sized
from monai_gmcl.benchmark.report.rows import WEIGHTS, Cell, Results, arm_title, auc
from monai_gmcl.page import Table

__all__ = [
    "ARM_NOTE",
    "SHARES",
    "arm_table",
    "cost_table",
    "difference_table",
    "measure_table",
    "robust_table",
    "share_table",
    "synthetic_table",
]

SHARES = (
    ("transform: doubled batch − strong transforms", "doubled_batch", "strong"),
    ("structure: frozen teacher − doubled batch", "frozen", "doubled_batch"),
    ("of it batch statistics: own statistics − doubled batch", "doubled_batch_split_statistics", "doubled_batch"),
    ("learning: GMCL − frozen teacher", "gmcl", "frozen"),
    ("together: GMCL − strong transforms", "gmcl", "strong"),
)
"""What the gain is made of; transform, structure and learning add up where they have the same seeds."""
MEASURES = ("accuracy", "sensitivity", "specificity", "ece")
RADII = ("1/255", "2/255", "4/255")
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
        return [arm_title(arm), seeds, *own, means["ema_chosen"], means["ema_final"]]

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
            arm_title(arm),
            *(difference_text(results.difference(cell, arm, theirs, *auc(cell, weights))) for cell in cells),
            difference_text(results.pooled(cells, arm, theirs, weights)),
        ]
        for arm in results.arms(cells)
        if arm != theirs
    ]
    return Table(
        f"AUC minus that of {arm_title(theirs)}, {weights.replace('_', ' ')} weights",
        ["arm", *(f"n = {cell.n}" for cell in cells), "all n"],
        rows,
        "Paired, with 95 % intervals; all n: mean over them.",
    )


def share_table(results: Results, cells: Sequence[Cell], weights: str) -> Table:
    """Return what the gain is made of, with intervals."""
    rows = [
        [
            name,
            *(difference_text(results.difference(cell, ours, theirs, *auc(cell, weights))) for cell in cells),
            difference_text(results.pooled(cells, ours, theirs, weights)),
        ]
        for name, ours, theirs in SHARES
    ]
    title = f"Shares of the gain in AUC, {weights.replace('_', ' ')} weights"
    return Table(title, ["share", *(f"n = {cell.n}" for cell in cells), "all n"], rows)


def measure_table(results: Results, cells: Sequence[Cell], weights: str) -> Table:
    """Return accuracy, sensitivity, specificity and calibration error."""
    return _by_arm(
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

    return _by_arm(
        results,
        cells,
        "Cost of a run",
        [
            *("steps", "TFLOP", "of GMCL's", "tuning, TFLOP", "wall, s", "tuning, wall s", "CPU, s"),
            *("1000 student passes", "of GMCL's", "peak memory, MiB"),
        ],
        texts,
        "Means over seeds. Counted operations of everything that is trained. Arms without a teacher get the steps that "
        "GMCL's operations buy, those with lessons GMCL's steps, those with unlabeled images as many student passes as "
        "GMCL whose weights need none, half as long again as many as GMCL weighed by the whole student. "
        "Tuning: the other strengths that a user would have to run; it comes on top. Times and memory (of "
        "a GPU: its own) are those of runs on one kind of "
        f"machine: {machine or 'unknown'}.",
    )


def robust_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return the accuracy under attack and the AUC under shifts, of arms that were attacked."""

    def texts(cell: Cell, arm: str) -> list[str]:
        attacked = results.numbers(cell, arm, "robust", "accuracy")
        paths = [("accuracy",), *((attack, radius) for attack in ("fgsm", "pgd") for radius in RADII)]
        shifts: list[tuple[str, ...]] = [("stain_shift",), ("blur",), ("jpeg",)]
        found = [mean_text(results.numbers(cell, arm, "robust", *path).values()) for path in [*paths, *shifts]]
        unchanged = [value for seed, value in results.numbers(cell, arm, *auc(cell)).items() if seed in attacked]
        return [str(len(attacked)), *found, mean_text(unchanged)]

    attacks = [f"{attack} {radius}" for attack in ("FGSM", "PGD") for radius in RADII]
    return _by_arm(
        results,
        cells,
        "Accuracy under attack, AUC under shifts",
        [
            "seeds",
            "accuracy",
            *attacks,
            "AUC, stain or contrast",
            "AUC, blur",
            "AUC, JPEG",
            "AUC, unchanged, all images",
        ],
        texts,
        "Of the seeds that were attacked, on 500 images of the test set; the last column on all of it.",
        only=lambda row: row.get("robust") is not None,
    )


def synthetic_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return how diverse the synthetic images are, how near to the labeled ones, and how far a GAN's are from real."""
    kids = ("kid", "kid_drawn", "kid_real")

    def texts(cell: Cell, arm: str) -> list[str]:
        def of(*path: str) -> str:
            return mean_text(results.numbers(cell, arm, "synthetic", *path).values())

        real = of("diversity_real")
        real = of("gan", "diversity_real") if real == NONE else real
        length = sized(results.mean(cell, arm, "synthetic", "gan", "length"), 1)
        return [of("diversity"), real, of("memorization"), *(of("gan", name) for name in kids), length]

    titles = [f"KID of {which}" for which in ("selected images", "all drawn", "labeled images")]
    return _by_arm(
        results,
        cells,
        "Synthetic images",
        ["diversity", "diversity of labeled images", "memorization", *titles, "GAN, steps"],
        texts,
        "Memorization: share of images nearer to a labeled one than 5 % of those are to another; lessons, changed real "
        "images, are near by design. KID: kernel distance to held-out images, by features of the selecting classifier.",
        only=lambda row: row.get("synthetic") is not None,
    )


def _by_arm(
    results: Results,
    cells: Sequence[Cell],
    title: str,
    columns: Sequence[str],
    texts: Callable[[Cell, str], list[str]],
    note: str = "",
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> Table:
    rows = [
        [arm_title(arm), str(cell.n), *texts(cell, arm)]
        for cell in cells
        for arm in results.arms([cell])
        if any(map(only, results.of(cell, arm)))
    ]
    return Table(title, ["arm", "n", *columns], rows, note)
