# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Augmentations with MONAI's own transforms, at a strength that can be tuned."""

from __future__ import annotations

from typing import Any

import numpy as np
from monai.transforms.compose import Compose, OneOf
from monai.transforms.intensity.array import (
    RandAdjustContrast,
    RandCoarseDropout,
    RandGaussianNoise,
    RandGaussianSharpen,
    RandGaussianSmooth,
    RandHistogramShift,
    RandScaleIntensity,
    RandShiftIntensity,
    ScaleIntensityRange,
)
from monai.transforms.spatial.array import RandAffine, RandFlip, RandRotate90
from monai.transforms.utility.array import Identity

from monai_gmcl.benchmark.data_sets import DataOptions

__all__ = ["no_augmentation", "standard_augmentation", "strong_augmentation", "trivial_augmentation"]


def no_augmentation() -> Compose:
    """Return the identity."""
    return Compose([Identity()])


def standard_augmentation(options: DataOptions, strength: float = 1.0) -> Compose:
    """Return what the modality's users do: orientation (microscopy) or small moves (upright images), tone and color.

    Args:
        options: which modality.
        strength: times the usual ranges: brightness 20 %, gamma 1.25, 10 % for each color; 10 degrees, 2 pixels.
    """
    return Compose([*_pose(options, strength), *_tone(options, strength), _clip()])


def strong_augmentation(options: DataOptions, strength: float = 1.0) -> Compose:
    """Return the standard transforms with affine maps, blur, noise and cut-out.

    Args:
        options: which modality.
        strength: times the usual ranges: 15 degrees, scale 10 %, shear .1, blur up to 1 pixel, noise .05, holes of a
            fifth of the size.
    """
    dims, size = options.spatial_dims, max(2, round(0.2 * strength * options.image_size[0]))
    return Compose(
        [
            *_pose(options, strength),
            RandAffine(
                prob=0.5,
                rotate_range=_angles(options, 15 * strength),
                scale_range=(0.0 if options.centered else 0.1 * strength,) * dims,
                shear_range=(0.1 * strength,) * (dims * (dims - 1)),
                padding_mode="reflection",
            ),
            *_tone(options, strength),
            RandGaussianSmooth(
                sigma_x=(0.2, 1.0 * strength), sigma_y=(0.2, 1.0 * strength), sigma_z=(0.2, 1.0 * strength), prob=0.3
            ),
            RandGaussianNoise(prob=0.5, std=0.05 * strength),
            RandCoarseDropout(1, 2, max_holes=2, max_spatial_size=size, fill_value=0.5, prob=0.3),
            _clip(),
        ]
    )


def trivial_augmentation(options: DataOptions) -> Compose:
    """Return the pose transforms and one other operation at a random strength, each as likely.

    TrivialAugment (Mueller and Hutter 2021, arXiv 2103.10158) with the operations that MONAI has instead of Pillow's.
    """
    always: dict[str, Any] = {"prob": 1.0}
    dims, zoom = options.spatial_dims, 0.0 if options.centered else 0.3
    operations = [
        Identity(),
        RandAffine(**always, rotate_range=_angles(options, 45), padding_mode="reflection"),
        RandAffine(**always, shear_range=(0.4,) * (dims * (dims - 1)), padding_mode="reflection"),
        RandAffine(**always, scale_range=(zoom,) * dims, padding_mode="reflection"),
        RandScaleIntensity(**always, factors=0.6),
        RandShiftIntensity(**always, offsets=0.3),
        RandAdjustContrast(**always, gamma=(0.4, 2.5)),
        RandScaleIntensity(**always, factors=0.4, channel_wise=True),
        RandHistogramShift(**always, num_control_points=(4, 8)),
        RandGaussianSmooth(**always, sigma_x=(0.2, 2.0), sigma_y=(0.2, 2.0), sigma_z=(0.2, 2.0)),
        RandGaussianSharpen(**always, alpha=(1.0, 4.0)),
        RandGaussianNoise(**always, std=0.15),
    ]
    return Compose([*_pose(options, 1.0), OneOf(operations), _clip()])


def _pose(options: DataOptions, strength: float) -> list[Any]:
    dims = options.spatial_dims
    if not options.upright:
        # Of squares, all eight orientations; of cubes, half of the 48.
        return [RandRotate90(prob=0.75), *(RandFlip(prob=0.5, spatial_axis=axis) for axis in range(1, dims))]
    shifts = (2.0 * strength,) * dims
    return [RandAffine(1.0, _angles(options, 10 * strength), translate_range=shifts, padding_mode="border")]


def _angles(options: DataOptions, degrees: float) -> tuple[float, ...]:
    """Of rotation in the plane, or about three axes."""
    return (np.deg2rad(degrees),) * (1 if options.spatial_dims == 2 else 3)


def _tone(options: DataOptions, strength: float) -> list[Any]:
    gamma = 1 + 0.25 * strength
    tone = [
        RandScaleIntensity(factors=0.2 * strength, prob=1.0),
        RandAdjustContrast(prob=1.0, gamma=(1 / gamma, gamma)),
    ]
    if options.channels == 1:
        return tone
    return [*tone, RandScaleIntensity(factors=0.1 * strength, prob=1.0, channel_wise=True)]


def _clip() -> ScaleIntensityRange:
    return ScaleIntensityRange(0.0, 1.0, 0.0, 1.0, clip=True)
