# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_gmcl.benchmark.report.formats import difference_text, mean_text, short, signed, sized
from monai_gmcl.benchmark.report.paired_difference import PairedDifference


@pytest.mark.parametrize(
    ("value", "text"), [(0.8414, ".841"), (-0.012, "−.012"), (1.0, "1.000"), (-0.0001, ".000"), (-1.5, "−1.500")]
)
def test_numbers_have_three_decimals_no_leading_zero_and_a_true_minus(value: float, text: str) -> None:
    assert short(value) == text


def test_signs_are_written_also_where_they_are_plus() -> None:
    assert (signed(0.012), signed(-0.012), signed(0)) == ("+.012", "−.012", "+.000")


def test_a_mean_has_the_deviation_of_a_sample() -> None:
    values = [0.81, 0.84, 0.86]
    assert mean_text(values) == f".837 ± {np.std(values, ddof=1):.3f}".replace("0.", ".")
    assert mean_text([0.81]) == ".810" and mean_text([]) == "–"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.003, 0.021, "+.012 [+.003, +.021] ▲"),
        (-0.003, 0.027, "+.012 [−.003, +.027]"),
        (-math.inf, math.inf, "+.012 (1 seed)"),
    ],
)
def test_a_difference_has_its_interval_and_a_mark_where_it_is_sure(low: float, high: float, text: str) -> None:
    assert difference_text(PairedDifference(0.012, 0.01, low, high, 5)) == text


def test_a_sure_loss_has_its_own_mark() -> None:
    assert difference_text(PairedDifference(-0.012, 0.01, -0.02, -0.01, 5)).endswith("▼")


def test_quantities_have_three_digits() -> None:
    assert [sized(value, 1e12) for value in (2.4e12, 123.4e12, 5e9, 0.0, None)] == ["2.40", "123", "0.00500", "0", "–"]
