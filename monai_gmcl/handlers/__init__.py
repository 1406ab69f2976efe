# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers (ignite, MONAI) for runs of ``GMCLTrainer``."""

from __future__ import annotations

from monai_gmcl.handlers.checkpoints import BestModelSaver, CheckpointFolder, CheckpointKeeper, newest_checkpoint
from monai_gmcl.handlers.curriculum_log import CurriculumLog, CurvesHandler
from monai_gmcl.handlers.harm_guard import HarmGuard
from monai_gmcl.handlers.image_grid import ImageGridHandler
from monai_gmcl.handlers.label_audit import LabelAudit
from monai_gmcl.handlers.label_leak_log import LabelLeakLog
from monai_gmcl.handlers.lesson_weights_log import LessonWeightsLog
from monai_gmcl.handlers.policy_log import PolicyLog
from monai_gmcl.handlers.predictions_saver import ClassReport, PredictionsSaver
from monai_gmcl.handlers.progress_bar import LessonProgressBar, RunSummary
from monai_gmcl.handlers.run_report import RunReport
from monai_gmcl.handlers.summary_writer import LazySummaryWriter
from monai_gmcl.handlers.teacher_saver import TeacherSaver
from monai_gmcl.handlers.unseen_accuracy import UnseenAccuracy

__all__ = [
    "BestModelSaver",
    "CheckpointFolder",
    "CheckpointKeeper",
    "ClassReport",
    "CurriculumLog",
    "CurvesHandler",
    "HarmGuard",
    "ImageGridHandler",
    "LabelAudit",
    "LabelLeakLog",
    "LazySummaryWriter",
    "LessonProgressBar",
    "LessonWeightsLog",
    "PolicyLog",
    "PredictionsSaver",
    "RunReport",
    "RunSummary",
    "TeacherSaver",
    "UnseenAccuracy",
    "newest_checkpoint",
]
