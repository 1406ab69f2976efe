# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of the images of a lesson, and pseudo-labels."""

from __future__ import annotations

from monai_gmcl.weighting.base import ConfidenceWeighting, LessonWeighting, UniformWeighting
from monai_gmcl.weighting.look_ahead import LookAheadWeighting
from monai_gmcl.weighting.pseudo_labels import PseudoLabeler

__all__ = ["ConfidenceWeighting", "LessonWeighting", "LookAheadWeighting", "PseudoLabeler", "UniformWeighting"]
