# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Learned data augmentation for MONAI by generative meta curriculum learning (GMCL)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from monai_gmcl.moved_modules import accept_old_paths

if TYPE_CHECKING:
    from monai_gmcl.curriculum import ClassSampler, Competence, Curriculum, LinearRamp
    from monai_gmcl.engines import GMCLEvents, GMCLKeys, GMCLTrainer
    from monai_gmcl.hypergradients import (
        ExactHypergradient,
        FiniteDifferenceHypergradient,
        ForwardHypergradient,
        HeadHypergradient,
        Hypergradient,
        UnrolledHypergradient,
        register_update_rule,
    )
    from monai_gmcl.lesson import Lesson
    from monai_gmcl.student_description import StudentDescription
    from monai_gmcl.student_file import describe_student, load_student, save_student
    from monai_gmcl.teachers import (
        EvidenceOptimizer,
        ImageTeacher,
        LatentTeacher,
        PolicyTeacher,
        StainTeacher,
        Teacher,
        load_teacher,
        save_teacher,
    )
    from monai_gmcl.weighting import (
        ConfidenceWeighting,
        LessonWeighting,
        LookAheadWeighting,
        PseudoLabeler,
        UniformWeighting,
    )

__version__ = "0.1.0"

accept_old_paths()

__all__ = [
    "ClassSampler",
    "Competence",
    "ConfidenceWeighting",
    "Curriculum",
    "EvidenceOptimizer",
    "ExactHypergradient",
    "FiniteDifferenceHypergradient",
    "ForwardHypergradient",
    "GMCLEvents",
    "GMCLKeys",
    "GMCLTrainer",
    "HeadHypergradient",
    "Hypergradient",
    "ImageTeacher",
    "LatentTeacher",
    "Lesson",
    "LessonWeighting",
    "LinearRamp",
    "LookAheadWeighting",
    "PolicyTeacher",
    "PseudoLabeler",
    "StainTeacher",
    "StudentDescription",
    "Teacher",
    "UniformWeighting",
    "UnrolledHypergradient",
    "describe_student",
    "load_student",
    "load_teacher",
    "register_update_rule",
    "save_student",
    "save_teacher",
]

_HOMES = (
    "student_description",
    "lesson",
    "curriculum",
    "hypergradients",
    "teachers",
    "weighting",
    "engines",
    "student_file",
)
"""Modules of the names above, which are imported on first use (PEP 562), because PyTorch and MONAI take seconds."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return import_module(f"{__name__}.{name}")
    for home in _HOMES if name in __all__ else ():
        module = import_module(f"{__name__}.{home}")
        if name in module.__all__:
            globals()[name] = getattr(module, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOMES})
