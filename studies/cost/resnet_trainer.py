# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer whose time is measured where only data or ranks differ: ResNet18 and the policy teacher, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets.resnet import resnet18
from torch import nn
from torch.utils.data import DataLoader

from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["resnet_trainer"]


def resnet_trainer(
    loader: DataLoader[Any], channels: int, classes: int, epoch_length: int | None = None
) -> GMCLTrainer:
    """Return a trainer of one epoch for 2-D images of so many channels and classes."""
    network = resnet18(spatial_dims=2, n_input_channels=channels, num_classes=classes)
    teacher = PolicyTeacher(2, channels, classes)
    return GMCLTrainer(
        device="cpu",
        max_epochs=1,
        epoch_length=epoch_length,
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=1e-3),
        loss_function=nn.CrossEntropyLoss(),
        decollate=False,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
    )
