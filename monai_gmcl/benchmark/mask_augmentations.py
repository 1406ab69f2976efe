# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Augmentations of images with masks by MONAI's dictionary transforms; geometric transforms also move the mask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from monai.transforms.compose import Compose, OneOf
from monai.transforms.croppad.dictionary import CenterSpatialCropd, RandCropByPosNegLabeld
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSharpend,
    RandGaussianSmoothd,
    RandHistogramShiftd,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandShiftIntensityd,
    ScaleIntensityRanged,
)
from monai.transforms.spatial.dictionary import (
    RandAffined,
    RandFlipd,
    RandRotate90d,
    RandSimulateLowResolutiond,
    RandZoomd,
)
from monai.transforms.utility.array import Identity

from monai_gmcl.benchmark.data_sets import DataOptions

__all__ = ["nnunet_augmentation", "standard_augmentation", "trivial_augmentation"]

PAIR = ("image", "label")
ROOM = 1.5
"""Of a patch that is turned and zoomed, in units of its side, so that its corners are real."""


def standard_augmentation(options: DataOptions, strength: float = 1.0) -> Compose:
    """Return orientation (or small moves of upright images) and tone, as for classes; patches first."""
    return Compose([*_patch(options), *_pose(options, strength), *_tone(strength), _clip()])


def nnunet_augmentation(options: DataOptions, deviation: float, strength: float = 1.0) -> Compose:
    """Return the training transforms of nnU-Net (Isensee et al., Nature Methods 2021), with its probabilities.

    Rotation, scaling, noise, blur, brightness, contrast, low resolution, gamma of the inverted image and of the image,
    mirroring. Upright images are mirrored nowhere and turned by 15 degrees at most. nnU-Net changes channels one by one
    in half of the cases of blur and low resolution; here all channels change in half as many cases.

    Args:
        options: which modality.
        deviation: standard deviation of the images, in whose units nnU-Net's noise is.
        strength: times nnU-Net's ranges, or their power where they are factors.
    """
    dims = options.spatial_dims
    linear, degrees = ("bilinear", 180) if dims == 2 else ("trilinear", 30)
    turns = (np.deg2rad(min(180.0, strength * (15 if options.upright else degrees))),) * (1 if dims == 2 else 3)
    zooms, gammas = (0.7**strength, 1.4**strength), (0.7**strength, 1.5**strength)
    sigmas, factors = (0.5, max(0.5, strength)), 0.25 * strength
    axes = () if options.upright else range(dims)
    image: dict[str, Any] = {"keys": "image"}
    return Compose(
        [
            *_patch(options, ROOM),
            RandAffined(PAIR, prob=0.2, rotate_range=turns, mode=("bilinear", "nearest"), padding_mode="reflection"),
            RandZoomd(
                PAIR, prob=0.2, min_zoom=zooms[0], max_zoom=zooms[1], mode=(linear, "nearest"), padding_mode="edge"
            ),
            *([CenterSpatialCropd(PAIR, options.patch)] if options.patch else []),
            RandGaussianNoised(**image, prob=0.1, std=0.1 * strength * deviation),
            RandGaussianSmoothd(**image, prob=0.2 * 0.5, sigma_x=sigmas, sigma_y=sigmas, sigma_z=sigmas),
            RandScaleIntensityd(**image, prob=0.15, factors=factors),
            RandScaleIntensityFixedMeand(**image, prob=0.15, factors=factors, preserve_range=True),
            RandSimulateLowResolutiond(**image, prob=0.25 * 0.5, zoom_range=(0.5**strength, 1.0), upsample_mode=linear),
            RandAdjustContrastd(**image, prob=0.1, gamma=gammas, invert_image=True, retain_stats=True),
            RandAdjustContrastd(**image, prob=0.3, gamma=gammas, retain_stats=True),
            *(RandFlipd(PAIR, prob=0.5, spatial_axis=axis) for axis in axes),
            _clip(),
        ]
    )


def trivial_augmentation(options: DataOptions, strength: float = 1.0) -> Compose:
    """Return the pose transforms and one other operation at a random strength, each as likely, as for classes."""
    dims = options.spatial_dims
    image: dict[str, Any] = {"keys": "image", "prob": 1.0}
    turns, sigmas = (math.pi / 4,) * (1 if dims == 2 else 3), (0.2, 2.0)
    affine: list[dict[str, Any]] = [
        {"rotate_range": turns},
        {"shear_range": (0.4,) * (dims * (dims - 1))},
        {"scale_range": (0.3,) * dims},
    ]
    operations: list[Any] = [
        Identity(),
        *(
            RandAffined(PAIR, prob=1.0, mode=("bilinear", "nearest"), padding_mode="reflection", **ranges)
            for ranges in affine
        ),
        RandScaleIntensityd(**image, factors=0.6),
        RandShiftIntensityd(**image, offsets=0.3),
        RandAdjustContrastd(**image, gamma=(0.4, 2.5)),
        RandHistogramShiftd(**image, num_control_points=(4, 8)),
        RandGaussianSmoothd(**image, sigma_x=sigmas, sigma_y=sigmas, sigma_z=sigmas),
        RandGaussianSharpend(**image, alpha=(1.0, 4.0)),
        RandGaussianNoised(**image, std=0.15),
    ]
    return Compose([*_patch(options), *_pose(options, 1.0), OneOf(operations), _clip()])


def _patch(options: DataOptions, room: float = 1.0) -> list[Any]:
    """A patch, as often around a pixel of a class as around one of the background."""
    if options.patch is None:
        return []
    size = [math.ceil(room * options.patch)] * options.spatial_dims
    return [RandCropByPosNegLabeld(PAIR, "label", size, allow_smaller=True)]


def _pose(options: DataOptions, strength: float) -> list[Any]:
    dims = options.spatial_dims
    if not options.upright:
        return [RandRotate90d(PAIR, prob=0.75), *(RandFlipd(PAIR, prob=0.5, spatial_axis=i) for i in range(1, dims))]
    turns, shifts = (np.deg2rad(10 * strength),) * (1 if dims == 2 else 3), (2.0 * strength,) * dims
    modes: dict[str, Any] = {"mode": ("bilinear", "nearest"), "padding_mode": "border"}
    return [RandAffined(PAIR, prob=1.0, rotate_range=turns, translate_range=shifts, **modes)]


def _tone(strength: float) -> list[Any]:
    gamma = 1 + 0.25 * strength
    return [
        RandScaleIntensityd("image", factors=0.2 * strength, prob=1.0),
        RandAdjustContrastd("image", prob=1.0, gamma=(1 / gamma, gamma)),
    ]


def _clip() -> ScaleIntensityRanged:
    return ScaleIntensityRanged("image", 0.0, 1.0, 0.0, 1.0, clip=True)
