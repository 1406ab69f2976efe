# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Teachers: modules that make synthetic images, and their files."""

from __future__ import annotations

from monai_gmcl.teachers.base import Teacher, draw_latents
from monai_gmcl.teachers.evidence_optimizer import EvidenceOptimizer
from monai_gmcl.teachers.image import ImageTeacher
from monai_gmcl.teachers.latent import LatentTeacher
from monai_gmcl.teachers.policy import PolicyTeacher
from monai_gmcl.teachers.stain import StainTeacher
from monai_gmcl.teachers.teacher_file import TeacherDescription, describe_teacher, load_teacher, save_teacher

__all__ = [
    "EvidenceOptimizer",
    "ImageTeacher",
    "LatentTeacher",
    "PolicyTeacher",
    "StainTeacher",
    "Teacher",
    "TeacherDescription",
    "describe_teacher",
    "draw_latents",
    "load_teacher",
    "save_teacher",
]
