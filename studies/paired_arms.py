# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The difference of two arms of a study, paired by seed, as its tables show it."""

from __future__ import annotations

import pandas as pd

from monai_gmcl.benchmark.report.formats import NONE, difference_text, signed
from monai_gmcl.benchmark.report.paired_difference import pooled_difference

__all__ = ["paired_difference_text"]


def paired_difference_text(runs: pd.DataFrame, by: str, ours: str, theirs: str, measure: str) -> str:
    """Return the mean paired difference with its 95 % interval, pooled over cells.

    Args:
        runs: a run a row, with ``seed``, ``arm`` and the next columns.
        by: column that names the cell.
        ours: the arm from which the other is subtracted.
        theirs: the other arm.
        measure: column of the measure.
    """
    wide = runs.pivot(index=[by, "seed"], columns="arm", values=measure)
    if ours not in wide:
        return NONE
    pairs = (wide[ours] - wide[theirs]).dropna()
    cells = [cell.droplevel(by) for _, cell in pairs.groupby(by)]
    if not cells:
        return NONE
    if min(map(len, cells)) < 2:
        return f"{signed(sum(cell.mean() for cell in cells) / len(cells))} (1 seed)"
    return difference_text(pooled_difference(cells))
