# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Differences of two ways of training on the same seeds, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import t as student_t

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["PairedDifference", "pooled_difference"]


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences with its interval.

    Attributes:
        mean: of ours minus theirs.
        deviation: standard deviation of a difference; NaN of a single pair. Pooled: of all differences, each cell
            around its own mean.
        low: lower end of the 95 % interval; minus infinity of a single pair.
        high: upper end; infinity of a single pair.
        pairs: how many differences, of all cells together.
        cells: how many cells.
    """

    mean: float
    deviation: float
    low: float
    high: float
    pairs: int
    cells: int = 1


def pooled_difference(cells: Sequence[pd.Series]) -> PairedDifference:
    """Return the mean difference over cells, such as data sets and numbers of labeled images, with its interval.

    Each cell c gives its n_c paired differences d; cells count alike, however many seeds they have:

        mean = 1/C Σ_c mean_c        variance = Σ_seed ( 1/C Σ_c (d - mean_c) / sqrt(n_c (n_c - 1)) )²

    A seed's differences are added up over cells before they are squared, since cells need not be independent: the
    images that a seed draws for n = 100 are among those that it draws for n = 250. Degrees of freedom are those of the
    smallest cell, n_c - 1. Equal seeds in all cells: Student's interval of each seed's mean over cells; one cell:
    Student's interval ``mean ± t(n - 1) · s / sqrt(n)``.

    Args:
        cells: differences by seed, one cell or more. The same seed in two cells is taken for the same source of chance.

    Raises:
        ConfigurationError: several cells, and one of them has fewer than two pairs.
    """
    smallest = min(map(len, cells))
    if len(cells) == smallest == 1:
        return PairedDifference(float(cells[0].iloc[0]), math.nan, -math.inf, math.inf, 1)
    if smallest < 2:
        raise ConfigurationError(f"Expected two pairs or more in each cell, got a cell with {smallest}.")
    scaled = pd.concat([(c - c.mean()) / (len(cells) * math.sqrt(len(c) * (len(c) - 1))) for c in cells])
    spread = math.sqrt((scaled.groupby(level=0).sum() ** 2).sum())
    half = float(student_t.ppf(0.975, smallest - 1)) * spread
    center, pairs = sum(cell.mean() for cell in cells) / len(cells), sum(map(len, cells))
    deviation = math.sqrt(sum(((cell - cell.mean()) ** 2).sum() for cell in cells) / (pairs - len(cells)))
    return PairedDifference(float(center), deviation, center - half, center + half, pairs, len(cells))
