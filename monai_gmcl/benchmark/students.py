# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The students of comparisons: one network for classes, one for masks."""

from __future__ import annotations

import torch
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.unet import UNet

from monai_gmcl.benchmark.data_sets import DataOptions

__all__ = ["UNET_STEP", "small_resnet", "small_unet"]

UNET_STEP = 4
"""Sides of what :func:`small_unet` takes are multiples of this."""


def small_resnet(options: DataOptions) -> ResNet:
    """Return the student for classes: four residual blocks of 16 to 64 channels, a logit for each class."""
    network = ResNet(
        "basic",
        [1, 1, 1, 1],
        [16, 32, 64, 64],
        spatial_dims=options.spatial_dims,
        n_input_channels=options.channels,
        num_classes=options.classes,
        conv1_t_size=3,
        conv1_t_stride=1,
    )
    # Two thirds of the time on a CPU. torch does not type the argument.
    layout = torch.channels_last if options.spatial_dims == 2 else torch.channels_last_3d
    network.to(memory_format=layout)  # type: ignore[call-overload]
    return network


def small_unet(options: DataOptions) -> UNet:
    """Return the student for masks: MONAI's residual U-Net of 16 to 64 channels, as in the bundle, a logit a class."""
    size = (options.spatial_dims, options.channels, options.classes)
    return UNet(*size, channels=[16, 32, 64], strides=[2, 2], num_res_units=2)
