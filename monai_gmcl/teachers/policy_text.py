# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["policy_text"]


def policy_text(policy: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the result of ``PolicyTeacher.policy``, with or without effects, as a text table."""
    with_effects = any("effect" in row for row in policy.values())
    heading = f"{'operation':<14}{'from':>9}{'to':>9}  {'unit':<12}{'probability':>11}{'share':>7}"
    lines = [heading + (f"{'effect':>9} ± {'s.e.':<7}" if with_effects else "")]
    for name, row in policy.items():
        low, high = (f"{row[end]:.3f}" for end in ("low", "high"))
        if row["unit"] == "probability":
            low = high = "–"
        line = f"{name:<14}{low:>9}{high:>9}  {row['unit']:<12}{row['probability']:>11.2f}{row['share']:>7.2f}"
        if with_effects:
            line += f"{_signed(row['effect']):>9} ± {_number(row['standard_error']):<7}"
        lines.append(line + ("  turned down" if row["turned_down"] else ""))
    return "\n".join(line.rstrip() for line in lines)


def _signed(number: float) -> str:
    return "–" if math.isnan(number) else f"{number:+.3f}"


def _number(number: float) -> str:
    return "–" if math.isnan(number) else f"{number:.3f}"
