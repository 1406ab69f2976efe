# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The changes of one batch after its random numbers are drawn; they apply to images and to their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from monai_gmcl.teachers.operations.base import GeometryOperation, Operation, OrientationOperation, PixelOperation
from monai_gmcl.teachers.operations.warp import Warp

__all__ = ["Plan", "Step"]


class Step(NamedTuple):
    """The step of one operation: draws ``(B, n)``, strengths ``(B,)``, and whether it acts on each image ``(B,)``."""

    operation: Operation
    draws: Tensor
    strength: Tensor
    acts: Tensor


@dataclass(frozen=True)
class Plan:
    """All steps, in the order of the operations. The geometric steps are applied in one resampling."""

    steps: Sequence[Step]

    def change(self, images: Tensor) -> Tensor:
        """Apply all operations to images ``(B, C, *spatial)`` scaled to [0, 1]."""
        images = self._oriented(images)
        warp = self._warp(images.shape[2:])
        if warp is not None:
            images = warp.sample(images)
        for operation, draws, strength, _ in self.steps:
            if isinstance(operation, PixelOperation):
                images = operation.apply(images, draws, strength)
        return images

    def change_labels(self, labels: Tensor, padding: int | None = None) -> Tensor:
        """Move masks ``(B, K, *spatial)`` as :meth:`change` moves images; see :meth:`Warp.sample_labels`."""
        labels = self._oriented(labels)
        warp = self._warp(labels.shape[2:])
        return labels if warp is None else warp.sample_labels(labels, padding)

    def with_fixed_geometry(self) -> Plan:
        """Return the same plan without gradients of the geometric strengths."""

        def fixed(step: Step) -> Step:
            moves = isinstance(step.operation, GeometryOperation)
            return step._replace(strength=step.strength.detach()) if moves else step

        return Plan([fixed(step) for step in self.steps])

    def _oriented(self, images: Tensor) -> Tensor:
        for operation, draws, _, acts in self.steps:
            if isinstance(operation, OrientationOperation):
                images = operation.apply(images, draws, acts)
        return images

    def _warp(self, spatial_size: Sequence[int]) -> Warp | None:
        warp = None
        for operation, draws, strength, _ in self.steps:
            if isinstance(operation, GeometryOperation):
                warp = operation.apply(warp or Warp.still(spatial_size, draws), draws, strength)
        return warp
