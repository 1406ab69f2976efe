# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monai_gmcl.benchmark.report.paired_difference import pooled_difference
from monai_gmcl.exceptions import ConfigurationError


def test_one_cell_is_scipys_paired_t_interval() -> None:
    ours, theirs = np.random.default_rng(0).normal(0.8, 0.02, (2, 7))
    found = pooled_difference([pd.Series(ours - theirs)])
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.mean, found.deviation) == pytest.approx(((ours - theirs).mean(), (ours - theirs).std(ddof=1)))
    assert (found.pairs, found.cells) == (7, 1)


def test_a_single_pair_says_nothing_of_its_spread() -> None:
    found = pooled_difference([pd.Series({3: 0.1})])
    assert found.mean == pytest.approx(0.1) and math.isnan(found.deviation)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_cells_with_the_same_seeds_pool_to_the_interval_of_each_seeds_mean() -> None:
    cells = np.random.default_rng(1).normal(0.01, 0.02, (3, 8))
    found = pooled_difference([pd.Series(cell) for cell in cells])
    interval = stats.ttest_1samp(cells.mean(0), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    within = ((cells - cells.mean(1, keepdims=True)) ** 2).sum() / (24 - 3)
    assert found.deviation == pytest.approx(math.sqrt(within))
    assert (found.pairs, found.cells) == (24, 3)


def test_cells_of_different_seeds_add_their_variances() -> None:
    first, second = np.random.default_rng(2).normal(0, 1, 6), np.random.default_rng(3).normal(0, 1, 4)
    found = pooled_difference([pd.Series(first), pd.Series(second, index=range(100, 104))])
    error = math.sqrt(first.var(ddof=1) / 6 + second.var(ddof=1) / 4) / 2
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert found.mean == pytest.approx((first.mean() + second.mean()) / 2)


def test_the_pooled_interval_holds_the_truth_as_often_as_it_says_where_cells_depend_on_each_other() -> None:
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        shared = generator.normal(0, 1, 6)
        found = pooled_difference([pd.Series(e + shared + generator.normal(0, 1, 6)) for e in (0.0, 1.0, 5.0)])
        held += found.low <= 2.0 <= found.high
    # of 400 at .95: 380, standard deviation 4.4
    assert 366 <= held <= 394


def test_cells_without_two_pairs_are_not_pooled() -> None:
    with pytest.raises(ConfigurationError, match="got a cell with 1"):
        pooled_difference([pd.Series([1.0, 2.0]), pd.Series([1.0])])
