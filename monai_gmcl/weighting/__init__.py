# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of the images of a lesson, and pseudo-labels."""

from __future__ import annotations

from monai_gmcl.weighting.base import LessonWeighting
from monai_gmcl.weighting.confidence import ConfidenceWeighting
from monai_gmcl.weighting.look_ahead import LookAheadWeighting
from monai_gmcl.weighting.pseudo_labels import PseudoLabeler
from monai_gmcl.weighting.uniform import UniformWeighting

__all__ = ["ConfidenceWeighting", "LessonWeighting", "LookAheadWeighting", "PseudoLabeler", "UniformWeighting"]
