# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Differences of two ways of training on the same seeds, with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t as student_t

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["PairedDifference", "paired_difference", "pooled_difference"]

SHOWN = 5
"""How many keys without a partner an error names."""


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences and what it is worth.

    Attributes:
        mean: of ours minus theirs.
        deviation: standard deviation of a difference; NaN of a single pair. Pooled: of all differences, each cell
            around its own mean.
        low: lower end of the interval; minus infinity of a single pair.
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


def paired_difference(
    ours: Mapping[int, float], theirs: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Return the mean of ``ours - theirs`` over seeds, with Student's interval ``mean ± t(n - 1) · s / sqrt(n)``.

    Pairs take out what a seed does to both sides alike: which images were drawn, how the student was initialized.

    Args:
        ours: a number for each seed.
        theirs: a number for each of the same seeds.
        confidence: that the interval holds the true mean, between 0 and 1.

    Raises:
        ConfigurationError: no pairs, a seed on one side only, a number that is not finite, or an impossible confidence.
    """
    return pooled_difference([(ours, theirs)], confidence) if len(ours) != 1 else _single(ours, theirs)


def pooled_difference(
    cells: Sequence[tuple[Mapping[int, float], Mapping[int, float]]], confidence: float = 0.95
) -> PairedDifference:
    """Return the mean difference over cells, such as data sets and numbers of labeled images, with its interval.

    Each cell c gives its n_c paired differences d; cells count alike, however many seeds they have:

        mean = 1/C Σ_c mean_c        variance = Σ_seed ( 1/C Σ_c (d - mean_c) / sqrt(n_c (n_c - 1)) )²

    A seed's differences are added up over cells before they are squared, since cells need not be independent: the
    images that a seed draws for n = 100 are among those that it draws for n = 250. Degrees of freedom are those of the
    smallest cell, n_c - 1. Equal seeds in all cells: Student's interval of each seed's mean over cells; one cell:
    :func:`paired_difference`.

    Args:
        cells: ours and theirs of each cell, a number for each seed. The same seed in two cells is taken for the same
            source of chance.
        confidence: that the interval holds the true mean, between 0 and 1.

    Raises:
        ConfigurationError: no cells, a cell with fewer than two pairs, and as for :func:`paired_difference`.
    """
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence: expected a number between 0 and 1, got {confidence}.")
    if not cells:
        raise ConfigurationError("Expected one cell of paired numbers or more, got none.")
    differences = [_differences(ours, theirs) for ours, theirs in cells]
    smallest = min(map(len, differences))
    if smallest < 2:
        raise ConfigurationError(f"Expected two pairs or more in each cell, got a cell with {smallest}.")
    means = [statistics.fmean(cell.values()) for cell in differences]
    squares = 0.0
    by_seed: dict[int, float] = {}
    for cell, mean in zip(differences, means, strict=True):
        scale = len(cells) * math.sqrt(len(cell) * (len(cell) - 1))
        for seed, value in cell.items():
            by_seed[seed] = by_seed.get(seed, 0.0) + (value - mean) / scale
            squares += (value - mean) ** 2
    half = float(student_t.ppf((1 + confidence) / 2, smallest - 1)) * math.sqrt(sum(v * v for v in by_seed.values()))
    center, pairs = statistics.fmean(means), sum(map(len, differences))
    deviation = math.sqrt(squares / (pairs - len(cells)))
    return PairedDifference(center, deviation, center - half, center + half, pairs, len(cells))


def _single(ours: Mapping[int, float], theirs: Mapping[int, float]) -> PairedDifference:
    (mean,) = _differences(ours, theirs).values()
    return PairedDifference(mean, math.nan, -math.inf, math.inf, 1)


def _differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    for side, alone in (("ours", ours.keys() - theirs.keys()), ("theirs", theirs.keys() - ours.keys())):
        if alone:
            named = ", ".join(sorted(map(str, alone))[:SHOWN])
            raise ConfigurationError(
                f"Expected the same seeds on both sides, found {len(alone)} only in {side}: {named}. "
                "Compare the seeds that both have."
            )
    found = {seed: value - theirs[seed] for seed, value in ours.items()}
    unfit = [seed for seed, value in found.items() if not math.isfinite(value)]
    if unfit:
        raise ConfigurationError(f"Expected finite numbers, found {ours[unfit[0]]} and {theirs[unfit[0]]}.")
    return found
