# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The operations of PolicyTeacher, in the order of its parameters."""

from __future__ import annotations

from monai_gmcl.teachers.operations.base import GeometryOperation, Operation, OrientationOperation, PixelOperation
from monai_gmcl.teachers.operations.geometry import Elastic, Rotation, Shear, Shift, Zoom
from monai_gmcl.teachers.operations.orientation import Flip, QuarterTurn
from monai_gmcl.teachers.operations.texture import Blur, Erasing, Noise
from monai_gmcl.teachers.operations.tone import Brightness, ChannelGain, Contrast, Gamma, Saturation
from monai_gmcl.teachers.operations.warp import Warp

__all__ = ["OPERATIONS", "GeometryOperation", "Operation", "OrientationOperation", "PixelOperation", "Warp"]

OPERATIONS: tuple[type[Operation], ...] = (
    Flip,
    QuarterTurn,
    Rotation,
    Zoom,
    Shear,
    Shift,
    Elastic,
    Gamma,
    Contrast,
    Brightness,
    ChannelGain,
    Saturation,
    Blur,
    Noise,
    Erasing,
)
"""All operations, in the order in which they are applied; the input of gamma is within the value range."""
