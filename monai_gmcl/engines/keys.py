# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys of the output, and events, that GMCLTrainer adds to those of MONAI."""

from __future__ import annotations

from ignite.engine import EventEnum
from monai.utils.enums import StrEnum

__all__ = ["GMCLEvents", "GMCLKeys"]


class GMCLKeys(StrEnum):
    """Keys that GMCLTrainer adds to ``engine.state.output``. A value has one item for each real image, or is a number.

    In an iteration without a lesson, synthetic images, labels and predictions are missing, and ``SYNTHETIC_LOSS`` is
    0.
    """

    SYNTHETIC_IMAGE = "synthetic_image"
    SYNTHETIC_LABEL = "synthetic_label"
    SYNTHETIC_PRED = "synthetic_pred"
    SYNTHETIC_LOSS = "synthetic_loss"
    TEACHER_GRAD_NORM = "teacher_grad_norm"
    WEIGHT = "weight"
    HARDNESS = "hardness"
    DIFFICULTY = "difficulty"


class GMCLEvents(EventEnum):
    """Events of GMCLTrainer, in addition to MONAI's ``IterationEvents``."""

    LESSON_COMPLETED = "lesson_completed"
    """after the student's pass on a lesson"""
    TEACHER_STEP_COMPLETED = "teacher_step_completed"
    """after the teacher's optimizer step"""
