# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Measures of teachers, students and labels."""

from __future__ import annotations

from monai_gmcl.metrics.diversity import diversity, diversity_kept, teacher_diversity
from monai_gmcl.metrics.label_leak import LabelLeak, label_leak
from monai_gmcl.metrics.memorization import Memorization, memorization, small_pixels
from monai_gmcl.metrics.operation_effects import OperationEffects, operation_effects, prediction_error

__all__ = [
    "LabelLeak",
    "Memorization",
    "OperationEffects",
    "diversity",
    "diversity_kept",
    "label_leak",
    "memorization",
    "operation_effects",
    "prediction_error",
    "small_pixels",
    "teacher_diversity",
]
