# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Trained teachers as transforms of MONAI, and seeds by item."""

from __future__ import annotations

from monai_gmcl.transforms.array import RandTeacherAugment
from monai_gmcl.transforms.batch import TeacherBatchAugment
from monai_gmcl.transforms.dictionary import RandTeacherAugmentD, RandTeacherAugmentd, RandTeacherAugmentDict
from monai_gmcl.transforms.seeded_items import SeededItems

__all__ = [
    "RandTeacherAugment",
    "RandTeacherAugmentD",
    "RandTeacherAugmentDict",
    "RandTeacherAugmentd",
    "SeededItems",
    "TeacherBatchAugment",
]
