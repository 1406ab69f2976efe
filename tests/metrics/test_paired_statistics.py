# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.paired_statistics import paired_difference, pooled_difference


def by_seed(values: object) -> dict[int, float]:
    return {seed: float(value) for seed, value in enumerate(values)}  # type: ignore[arg-type, var-annotated]


def test_one_cell_is_scipys_paired_t_interval() -> None:
    ours, theirs = np.random.default_rng(0).normal(0.8, 0.02, (2, 7))
    found = paired_difference(by_seed(ours), by_seed(theirs))
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert found.deviation == pytest.approx((ours - theirs).std(ddof=1))
    assert (found.pairs, found.cells) == (7, 1)


def test_the_order_of_seeds_does_not_count() -> None:
    ours, theirs = {0: 0.9, 5: 0.7, 2: 0.8}, {2: 0.79, 0: 0.85, 5: 0.7}
    found = paired_difference(ours, theirs)
    assert found.mean == pytest.approx((0.05 + 0.0 + 0.01) / 3)


def test_a_single_pair_says_nothing_of_its_spread() -> None:
    found = paired_difference({3: 0.9}, {3: 0.8})
    assert found.mean == pytest.approx(0.1) and math.isnan(found.deviation)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_cells_with_the_same_seeds_pool_to_the_interval_of_each_seeds_mean() -> None:
    cells = np.random.default_rng(1).normal(0.01, 0.02, (3, 8))
    zeros = by_seed(np.zeros(8))
    found = pooled_difference([(by_seed(cell), zeros) for cell in cells])
    interval = stats.ttest_1samp(cells.mean(0), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    within = ((cells - cells.mean(1, keepdims=True)) ** 2).sum() / (24 - 3)
    assert found.deviation == pytest.approx(math.sqrt(within))
    assert (found.pairs, found.cells) == (24, 3)


def test_cells_of_different_seeds_add_their_variances() -> None:
    first, second = np.random.default_rng(2).normal(0, 1, 6), np.random.default_rng(3).normal(0, 1, 4)
    later = {100 + seed: value for seed, value in by_seed(second).items()}
    found = pooled_difference([(by_seed(first), by_seed(np.zeros(6))), (later, dict.fromkeys(later, 0.0))])
    error = math.sqrt(first.var(ddof=1) / 6 + second.var(ddof=1) / 4) / 2
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert found.mean == pytest.approx((first.mean() + second.mean()) / 2)


def test_the_pooled_interval_holds_the_truth_as_often_as_it_says_where_cells_depend_on_each_other() -> None:
    generator = np.random.default_rng(4)
    zeros, held = by_seed(np.zeros(6)), 0
    for _ in range(400):
        shared = generator.normal(0, 1, 6)
        cells = [by_seed(effect + shared + generator.normal(0, 1, 6)) for effect in (0.0, 1.0, 5.0)]
        found = pooled_difference([(cell, zeros) for cell in cells])
        held += found.low <= 2.0 <= found.high
    # of 400 at .95: 380, standard deviation 4.4
    assert 366 <= held <= 394


def test_unequal_pairs_are_named() -> None:
    with pytest.raises(ConfigurationError, match="found 2 only in theirs: 3, 4"):
        paired_difference(by_seed([1, 2, 3]), by_seed([1, 2, 3, 4, 5]))
    with pytest.raises(ConfigurationError, match="found 1 only in ours: 0"):
        paired_difference({0: 1.0}, {})


def test_what_has_no_interval_is_refused() -> None:
    two = by_seed([1, 2])
    with pytest.raises(ConfigurationError, match="got a cell with 1"):
        pooled_difference([(two, two), ({0: 1.0}, {0: 1.0})])
    with pytest.raises(ConfigurationError, match="a cell with 0"):
        paired_difference({}, {})
    with pytest.raises(ConfigurationError, match="got none"):
        pooled_difference([])
    with pytest.raises(ConfigurationError, match="found nan and 1"):
        paired_difference({0: math.nan, 1: 2.0}, {0: 1.0, 1: 2.0})
    with pytest.raises(ConfigurationError, match="between 0 and 1, got 95"):
        paired_difference(two, two, confidence=95)
