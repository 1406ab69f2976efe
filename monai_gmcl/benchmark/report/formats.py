# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers as the report writes them: three decimals, no leading zero, a true minus."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from monai_gmcl.benchmark.report.paired_difference import PairedDifference

__all__ = ["NONE", "difference_text", "mean_text", "short", "signed", "sized"]

NONE = "–"
"""Replaces a missing number."""


def short(value: float, decimals: int = 3) -> str:
    """Return ``.841``, ``−.012`` or ``1.000``."""
    text = f"{abs(value):.{decimals}f}"
    zero = not float(text)
    return ("−" if value < 0 and not zero else "") + text.removeprefix("0")


def signed(value: float) -> str:
    """Return ``+.012`` or ``−.012``."""
    text = short(value)
    return text if text.startswith("−") else f"+{text}"


def mean_text(values: Iterable[float]) -> str:
    """Return ``.841 ± .012``: mean and standard deviation; of one value, the value."""
    values = list(values)
    if not values:
        return NONE
    mean = short(statistics.fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {short(statistics.stdev(values))}"


def difference_text(difference: PairedDifference | None) -> str:
    """Return ``+.012 [+.003, +.021] ▲``; the triangle where the interval is above or below 0."""
    if difference is None:
        return NONE
    if math.isinf(difference.high):
        return f"{signed(difference.mean)} (1 seed)"
    mark = " ▲" if difference.low > 0 else " ▼" if difference.high < 0 else ""
    return f"{signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]{mark}"


def sized(value: float | None, unit: float) -> str:
    """Return three digits of a quantity in a unit, such as 1e12 operations."""
    if value is None:
        return NONE
    scaled = value / unit
    return f"{scaled:.{max(0, 2 - math.floor(math.log10(scaled)))}f}" if scaled > 0 else "0"
