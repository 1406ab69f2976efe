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
