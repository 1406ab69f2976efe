# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Operations that reorder pixels. They have no strength; their probability is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.teachers.operations.base import OrientationOperation

__all__ = ["Flip", "QuarterTurn"]


class Flip(OrientationOperation):
    """Mirrors an image along one spatial axis; all axes are equally probable."""

    name = "flip"

    def apply(self, images: Tensor, draws: Tensor, acts: Tensor) -> Tensor:
        axes = range(2, images.ndim)
        return _choose(images, draws, acts, [images.flip(axis) for axis in axes])

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        return {"_target_": "monai.transforms.RandAxisFlip", "prob": strength}


class QuarterTurn(OrientationOperation):
    """One, two or three quarter turns in the plane of the last two axes, with equal probability.

    Quarter turns suit images without a fixed orientation, such as microscopy patches. A policy has them with
    ``upright=False``, or if ``include`` names them.

    Images whose last two sides differ are turned by two quarters only, because other turns would change their shape.
    """

    name, keeps_upright = "quarter_turn", False

    def apply(self, images: Tensor, draws: Tensor, acts: Tensor) -> Tensor:
        quarters = (1, 2, 3) if images.shape[-1] == images.shape[-2] else (2,)
        return _choose(images, draws, acts, [images.rot90(k, (-2, -1)) for k in quarters])

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        axes = [len(spatial_size) - 2, len(spatial_size) - 1]
        if spatial_size[-1] != spatial_size[-2]:
            # RandRotate90 starts with one quarter turn; two quarter turns mirror both axes.
            return {"_target_": "monai.transforms.RandFlip", "prob": strength, "spatial_axis": axes}
        return {"_target_": "monai.transforms.RandRotate90", "prob": strength, "max_k": 3, "spatial_axes": axes}


def _choose(images: Tensor, draws: Tensor, acts: Tensor, changed: Sequence[Tensor]) -> Tensor:
    """Return one changed version of each image for which ``acts`` is true, selected by a draw in [0, 1)."""
    which = torch.where(acts, (draws[:, 0] * len(changed)).long().clamp_max(len(changed) - 1), -1)
    for k, version in enumerate(changed):
        images = torch.where((which == k).view(-1, *[1] * (images.ndim - 1)), version, images)
    return images
