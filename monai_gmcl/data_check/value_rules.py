# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of values: images that use little of the range that becomes 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import DEEPEST
from monai_gmcl.data.intensities import LEAST_SHARE as LEAST_SHARE_16_BITS
from monai_gmcl.data_check.looks import Look

__all__ = ["value_faults"]

LEAST_SHARE = 0.2
"""Of the range that becomes 0 to 1, what most values should use."""


def value_faults(looks: Mapping[str, Look], intensity_range: tuple[float, float] | None = None) -> list[Fault]:
    """Find images whose values use little of the range that becomes 0 to 1: 12 bits stored in 16, metal in CT.

    Percentiles are compared, so that single pixels change nothing. Of 8 bits most images must be so: some pictures are
    dark. Of 16 bits, and of volumes, one is enough: it is scaled otherwise than the rest. The range is by default what
    the kind of pixels can have; a volume's own least and most.
    """
    kinds: dict[tuple[str, float], dict[str, Look]] = {}
    for path, look in looks.items():
        if not look.constant:
            volume = look.pixels == "volume"
            kinds.setdefault(("volume" if volume else "image", 0 if volume else look.values.most), {})[path] = look
    faults = []
    for (kind, most), alike in kinds.items():
        least_share = LEAST_SHARE_16_BITS if most == DEEPEST and intensity_range is None else LEAST_SHARE
        unused = [path for path, look in alike.items() if _share(look, intensity_range) < least_share]
        if not unused or (most == 255 and 2 * len(unused) < len(alike)):
            continue
        values = alike[unused[0]].values
        least, greatest = intensity_range or (values.least, values.most)
        wanted = f"values that use the range from {least:,.6g} to {greatest:,.6g}"
        found = f"98 % of the values from {values.percentiles[0]:,.6g} to {values.percentiles[-1]:,.6g}"
        if len(unused) > 1:
            found += f", and {len(unused) - 1:,} more {kind}s with such values"
        faults.append(Fault("intensities", unused[0], wanted, found))
    return faults


def _share(look: Look, intensity_range: tuple[float, float] | None) -> float:
    """Return how much of the range the middle 98 percent of the values use, or 0 where nearly none are in it."""
    percentiles, *own = look.values
    least, most = intensity_range or own
    if not any(least <= value <= most for value in percentiles):
        return 0.0
    return (min(percentiles[-1], most) - max(percentiles[0], least)) / (most - least)
