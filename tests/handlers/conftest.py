# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data.dataloader import DataLoader
from torch import nn

from monai_gmcl import GMCLTrainer, PolicyTeacher


class Writer:
    """Keeps what goes to TensorBoard."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag, step] = value


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def make_trainer() -> Callable[..., GMCLTrainer]:
    """A factory of trainers: two classes, 8 x 8 or 8 x 8 x 8 images, three iterations of four images each epoch."""

    def make(handlers: list[Any], spatial_dims: int = 2, channels: int = 1, **arguments: Any) -> GMCLTrainer:
        numbers = torch.Generator().manual_seed(0)
        shape = (channels, *(8,) * spatial_dims)
        data = [{"image": torch.rand(shape, generator=numbers), "label": i % 2} for i in range(12)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Flatten(), nn.Linear(channels * 8**spatial_dims, 2))
            teacher = arguments.pop("teacher", None) or PolicyTeacher(spatial_dims, channels, 2)
        parameters = list(teacher.parameters())
        return GMCLTrainer(
            **{
                "device": "cpu",
                "max_epochs": 2,
                "train_data_loader": DataLoader(data, batch_size=4, shuffle=True),
                "network": network,
                "optimizer": torch.optim.SGD(network.parameters(), 0.1),
                "loss_function": nn.CrossEntropyLoss(),
                "teacher": teacher,
                "teacher_optimizer": torch.optim.SGD(parameters, 0.1) if parameters else None,
                "train_handlers": handlers,
                "seed": 3,
                **arguments,
            }
        )

    return make
