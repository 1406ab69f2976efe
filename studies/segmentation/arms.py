# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of the study: ways to train a small U-Net on a few images with masks, at equal student passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
)
from monai.transforms.spatial.dictionary import (
    RandFlipd,
    RandRotate90d,
    RandRotated,
    RandSimulateLowResolutiond,
    RandZoomd,
)

from monai_gmcl.curriculum import Curriculum
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["ARMS", "TEACHER_ARMS", "transforms_of"]

BOTH = ("image", "label")


def _flips() -> list[Any]:
    return [*(RandFlipd(BOTH, prob=0.5, spatial_axis=axis) for axis in (0, 1)), RandRotate90d(BOTH, prob=0.5)]


def _standard() -> list[Any]:
    """Flips, quarter turns, and changes of tone."""
    tone = [RandAdjustContrastd("image", prob=0.5, gamma=(0.7, 1.4)), RandScaleIntensityd("image", 0.15, prob=0.5)]
    return [*_flips(), *tone]


def _nnunet() -> list[Any]:
    """The recipe of nnU-Net (Isensee et al. 2021, supplement): its probabilities and ranges."""
    modes = ("bilinear", "nearest")
    return [
        RandRotated(BOTH, range_x=3.14, prob=0.2, mode=modes, padding_mode="reflection"),
        RandZoomd(BOTH, prob=0.2, min_zoom=0.7, max_zoom=1.4, mode=modes, padding_mode="reflect"),
        RandGaussianNoised("image", prob=0.1, std=0.05),
        RandGaussianSmoothd("image", prob=0.2, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0)),
        RandScaleIntensityd("image", factors=(-0.25, 0.25), prob=0.15),
        RandScaleIntensityFixedMeand("image", factors=(-0.25, 0.25), prob=0.15, preserve_range=True),
        RandSimulateLowResolutiond("image", prob=0.25, zoom_range=(0.5, 1.0), upsample_mode="bicubic"),
        RandAdjustContrastd("image", prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
        RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        *_flips(),
    ]


TRANSFORMS: dict[str, Callable[[], list[Any]]] = {
    "flips": _flips,
    "standard": _standard,
    "nnunet": _nnunet,
    "frozen_flips": _flips,
    "gmcl_flips": _flips,
}
TEACHER_ARMS = ("frozen_flips", "gmcl_flips", "frozen", "gmcl")
ARMS = ("none", "flips", "standard", "nnunet", *TEACHER_ARMS)
"""With and without flips and quarter turns of the real images; the teacher of all has them among its operations."""


def transforms_of(arm: str) -> Compose:
    """Return the transforms of the real patches."""
    return Compose(TRANSFORMS.get(arm, list)())


def trainer_of(arm: str, seed: int, **arguments: Any) -> Trainer:
    """Return the trainer of an arm.

    Args:
        arm: in :data:`ARMS`.
        seed: of everything random.
        **arguments: of :class:`monai.engines.SupervisedTrainer`.
    """
    if arm not in TEACHER_ARMS:
        return SupervisedTrainer(**arguments)
    teacher = PolicyTeacher(2, 1, 2, upright=False)
    learns = arm.startswith("gmcl")
    return GMCLTrainer(
        **arguments,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer() if learns else None,
        curriculum=Curriculum() if learns else Curriculum(difficulty=1.0),
        seed=seed,
    )
