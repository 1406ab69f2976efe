# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables that the proof has beside those of every report: shares of the gain, robustness, the GAN's images."""

from __future__ import annotations

from collections.abc import Sequence

from monai_gmcl.benchmark.report.formats import difference_text, mean_text, sized
from monai_gmcl.benchmark.report.rows import CHECKPOINTS, Cell, Results, score
from monai_gmcl.benchmark.report.tables import table_by_arm
from monai_gmcl.reporting.page import Table

__all__ = ["SHARES", "gan_table", "pooled_table", "robust_table", "share_table"]

SHARES = (
    ("transform: doubled batch − strong transforms", "doubled_batch", "strong"),
    ("structure: frozen teacher − doubled batch", "frozen", "doubled_batch"),
    ("of it batch statistics: own statistics − doubled batch", "doubled_batch_split_statistics", "doubled_batch"),
    ("learning: GMCL − frozen teacher", "gmcl", "frozen"),
    ("together: GMCL − strong transforms", "gmcl", "strong"),
)
"""What the gain is made of; transform, structure and learning add up where they have the same seeds."""
MAIN = ("chosen", "final")
RADII = ("1/255", "2/255", "4/255")


def share_table(results: Results, cells: Sequence[Cell], weights: str) -> Table:
    """Return what the gain is made of, with intervals."""
    rows = [
        [
            name,
            *(difference_text(results.difference(cell, ours, theirs, *score(cell, weights))) for cell in cells),
            difference_text(results.pooled(cells, ours, theirs, weights)),
        ]
        for name, ours, theirs in SHARES
    ]
    title = f"Shares of the gain in AUC, {CHECKPOINTS[weights]}"
    return Table(title, ["share", *(f"n = {cell.n}" for cell in cells), "all n"], rows)


def pooled_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return GMCL's difference to each other method, pooled over the numbers of labels that both have."""
    rows = [
        [results.title(arm), *(difference_text(results.pooled(cells, "gmcl", arm, name)) for name in MAIN)]
        for arm in results.arms(cells)
        if arm != "gmcl"
    ]
    return Table(
        "AUC of GMCL minus that of the method, pooled over n", ["method", *(CHECKPOINTS[name] for name in MAIN)], rows
    )


def robust_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return the accuracy under attack and the AUC under shifts, of arms that were attacked."""

    def texts(cell: Cell, arm: str) -> list[str]:
        attacked = results.numbers(cell, arm, "robust", "accuracy")
        paths = [("accuracy",), *((attack, radius) for attack in ("fgsm", "pgd") for radius in RADII)]
        shifts: list[tuple[str, ...]] = [("stain_shift",), ("blur",), ("jpeg",)]
        found = [mean_text(results.numbers(cell, arm, "robust", *path)) for path in [*paths, *shifts]]
        unchanged = [value for seed, value in results.numbers(cell, arm, *score(cell)).items() if seed in attacked]
        return [str(len(attacked)), *found, mean_text(unchanged)]

    attacks = [f"{attack} {radius}" for attack in ("FGSM", "PGD") for radius in RADII]
    return table_by_arm(
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


def gan_table(results: Results, cells: Sequence[Cell]) -> Table:
    """Return how far a GAN's images are from real ones, how diverse, and how long the GAN was trained."""
    kids = ("kid", "kid_drawn", "kid_real", "diversity_real")

    def texts(cell: Cell, arm: str) -> list[str]:
        found = [mean_text(results.numbers(cell, arm, "synthetic", "gan", name)) for name in kids]
        return [*found, sized(results.mean(cell, arm, "synthetic", "gan", "length"), 1)]

    titles = [f"KID of {which}" for which in ("selected images", "all drawn", "labeled images")]
    return table_by_arm(
        results,
        cells,
        "Images of the GAN",
        [*titles, "diversity of labeled images", "steps"],
        texts,
        "KID: kernel distance to held-out images, by features of the selecting classifier.",
        only=lambda row: "gan" in (row.get("synthetic") or {}),
    )
