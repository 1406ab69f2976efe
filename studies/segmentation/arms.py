# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of the study: ways to train a small U-Net on a few images with masks, at equal student passes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
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
from monai_gmcl.weighting import UniformWeighting

__all__ = ["ARMS", "TEACHER_ARMS", "UNLABELED_ARMS", "trainer_of", "transforms_of"]

BOTH = ("image", "label")


def _flips(dims: int) -> list[Any]:
    flips = [RandFlipd(BOTH, prob=0.5, spatial_axis=axis) for axis in range(dims)]
    return [*flips, *(RandRotate90d(BOTH, prob=0.5, spatial_axes=axes) for axes in combinations(range(dims), 2))]


def _standard(dims: int) -> list[Any]:
    """Flips, quarter turns, and changes of tone."""
    tone = [RandAdjustContrastd("image", prob=0.5, gamma=(0.7, 1.4)), RandScaleIntensityd("image", 0.15, prob=0.5)]
    return [*_flips(dims), *tone]


def _nnunet(dims: int) -> list[Any]:
    """The recipe of nnU-Net (Isensee et al. 2021, supplement): its probabilities and ranges."""
    linear, cubic = ("bilinear", "bicubic") if dims == 2 else ("trilinear", "trilinear")
    angles: dict[str, Any] = {"range_x": 3.14} if dims == 2 else {f"range_{axis}": 0.52 for axis in "xyz"}
    sigmas: dict[str, Any] = {f"sigma_{axis}": (0.5, 1.0) for axis in "xyz"}
    return [
        RandRotated(BOTH, **angles, prob=0.2, mode=("bilinear", "nearest"), padding_mode="reflection"),
        RandZoomd(BOTH, prob=0.2, min_zoom=0.7, max_zoom=1.4, mode=(linear, "nearest"), padding_mode="reflect"),
        RandGaussianNoised("image", prob=0.1, std=0.05),
        RandGaussianSmoothd("image", prob=0.2, **sigmas),
        RandScaleIntensityd("image", factors=(-0.25, 0.25), prob=0.15),
        RandScaleIntensityFixedMeand("image", factors=(-0.25, 0.25), prob=0.15, preserve_range=True),
        RandSimulateLowResolutiond("image", prob=0.25, zoom_range=(0.5, 1.0), upsample_mode=cubic),
        RandAdjustContrastd("image", prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
        RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        *_flips(dims),
    ]


UNLABELED_ARMS = ("gmcl_flips_unlabeled_equal", "gmcl_flips_unlabeled")
"""With unlabeled images, too: equal weights of all images of a lesson, and weights by the look-ahead."""
TEACHER_ARMS = ("frozen_flips", "gmcl_flips", "frozen", "gmcl", *UNLABELED_ARMS)
ARMS = ("none", "flips", "standard", "nnunet", *TEACHER_ARMS)
"""With and without flips and quarter turns of the real images; the teacher of all has them among its operations."""


def transforms_of(arm: str, dims: int = 2) -> Compose:
    """Return the transforms of the real patches, with 2 or 3 spatial dimensions."""
    if arm in ("none", "frozen", "gmcl"):
        return Compose([])
    return Compose({"standard": _standard, "nnunet": _nnunet}.get(arm, _flips)(dims))


def trainer_of(arm: str, seed: int, dims: int = 2, unlabeled: Iterable[Any] | None = None, **arguments: Any) -> Trainer:
    """Return the trainer of an arm.

    Args:
        arm: in :data:`ARMS`.
        seed: of everything random.
        dims: spatial dimensions, 2 or 3.
        unlabeled: batches of images without masks, for :data:`UNLABELED_ARMS`.
        **arguments: of :class:`monai.engines.SupervisedTrainer`.
    """
    if arm not in TEACHER_ARMS:
        return SupervisedTrainer(**arguments)
    teacher = PolicyTeacher(dims, 1, 2, upright=False)
    learns = arm.startswith("gmcl")
    return GMCLTrainer(
        **arguments,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer() if learns else None,
        curriculum=Curriculum() if learns else Curriculum(difficulty=1.0),
        unlabeled_data_loader=unlabeled,
        weighting=UniformWeighting() if arm.endswith("equal") else None,
        seed=seed,
    )
