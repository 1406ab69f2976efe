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
"""Fraction of the range that most values should use."""


def value_faults(looks: Mapping[str, Look], intensity_range: tuple[float, float] | None = None) -> list[Fault]:
    """Find images whose values use little of the range that becomes 0 to 1: 12 bits stored in 16, metal in CT.

    Percentiles are compared, so that single pixels have no effect. For 8-bit images, the fault is reported if most
    images have it, because single images may be dark. For 16-bit images and volumes, one image is enough, because it is
    scaled in another way than the rest. By default, the range is that of the kind of pixels or, for a volume, from its
    minimum to its maximum.
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
    """Return the fraction of the range that the middle 98 percent of the values use, or 0 if nearly none are in it."""
    percentiles, *own = look.values
    least, most = intensity_range or own
    if not any(least <= value <= most for value in percentiles):
        return 0.0
    return (min(percentiles[-1], most) - max(percentiles[0], least)) / (most - least)
