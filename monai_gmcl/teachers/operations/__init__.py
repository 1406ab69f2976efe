# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
"""All operations, in the order in which they are applied: gamma sees values within the range."""
