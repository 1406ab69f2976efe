# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Deprecated grid of real and synthetic images, kept for one version; use :mod:`monai_gmcl.reporting.image_sheet`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.reporting.image_sheet import SheetRow, display_pixels, image_sheet, unnormalized

__all__ = ["GridRow", "display_pixels", "draw_grid", "unnormalized"]


class GridRow(NamedTuple):
    """Real images of one class, ``(n, C, H, W)`` or ``(n, C, D, H, W)``, and the same number of synthetic images."""

    name: str
    real: Tensor
    synthetic: Tensor


def draw_grid(path: Path, rows: Sequence[GridRow], title: str, value_range: tuple[float, float] | None) -> None:
    """Write a PNG with one row per class, real images left, synthetic images right; OutputError on failure."""
    warnings.warn("draw_grid has moved: use monai_gmcl.reporting.image_sheet.", DeprecationWarning, stacklevel=2)
    sheet = [SheetRow(row.name, [list(row.real), list(row.synthetic)]) for row in rows]
    write_whole(path, image_sheet(sheet, title, ("real", "synthetic"), value_range))
