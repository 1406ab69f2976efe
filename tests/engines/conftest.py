# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from torch import Tensor, nn

from monai_gmcl import Curriculum, GMCLTrainer, Hypergradient
from monai_gmcl.teachers import Teacher


class GainTeacher(Teacher):
    """Adds learned noise to its sources."""

    def __init__(self, in_channels: int = 3, num_classes: int = 2, spatial_dims: int = 2, **kwargs: Any) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, **kwargs)
        self.gain = nn.Parameter(torch.tensor(0.1))

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, *image_shape, generator=generator) - 0.5

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        assert images is not None
        return images + self.gain * difficulty * latents


class SmallStudent(nn.Module):
    """Convolution, batch normalization, dropout, linear head."""

    def __init__(self, in_channels: int = 3, outputs: int = 2, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = (nn.Conv2d, nn.Conv3d)[spatial_dims - 2]
        normalization = (nn.BatchNorm2d, nn.BatchNorm3d)[spatial_dims - 2]
        self.body = nn.Sequential(convolution(in_channels, 6, 3, padding=1), normalization(6), nn.ReLU())
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(6, outputs)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.body(images).flatten(2).mean(2)))
        return logits


def noting_estimator(kind: type[Hypergradient]) -> Any:
    """An estimator that keeps what it returns in ``found``."""

    class Noting(kind):  # type: ignore[misc, valid-type]
        def __call__(self, lessons: Sequence[Any], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            result: tuple[Tensor, Tensor] = super().__call__(lessons, look_ahead)
            estimator.found.append(result[0].detach().clone())
            return result

    estimator = Noting()
    estimator.found = []
    return estimator


def dictionaries(n: int = 22, channels: int = 3, shape: Sequence[int] = (8, 8)) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    images = 0.1 + 0.8 * torch.rand(n, channels, *shape, generator=generator)
    return [{"image": image, "label": torch.tensor(i % 2)} for i, image in enumerate(images)]


def stacked(items: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([item["image"] for item in items]), torch.stack([item["label"] for item in items])


def plain_loader(images: Tensor, labels: Tensor, size: int = 5) -> torch.utils.data.DataLoader[Any]:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=size)


def random_loader(items: list[dict[str, Tensor]] | None = None, workers: int = 0, **kwargs: Any) -> DataLoader:
    transform = Compose([RandFlipd("image", prob=0.5, spatial_axis=1), RandGaussianNoised("image", prob=0.5, std=0.01)])
    data = Dataset(dictionaries() if items is None else items, transform)
    return DataLoader(data, batch_size=5, shuffle=True, num_workers=workers, **kwargs)


def build_trainer(**changes: Any) -> GMCLTrainer:
    """A small GMCLTrainer; any argument can be replaced."""
    torch.manual_seed(1)
    network = changes.pop("network", None) or SmallStudent()
    teacher = changes.pop("teacher", None) or GainTeacher()
    arguments: dict[str, Any] = {
        "device": "cpu",
        "max_epochs": 2,
        "train_data_loader": random_loader(),
        "optimizer": torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.01),
        "loss_function": nn.CrossEntropyLoss(),
        "teacher_optimizer": torch.optim.Adam(teacher.parameters(), lr=0.01),
        "curriculum": Curriculum(),
        "seed": 11,
        **changes,
    }
    return GMCLTrainer(network=network, teacher=teacher, **arguments)


@pytest.fixture
def trainer() -> Callable[..., GMCLTrainer]:
    """Build a small GMCLTrainer; any argument can be replaced."""
    return build_trainer


@pytest.fixture
def noting() -> Callable[[type[Hypergradient]], Any]:
    """Build an estimator that keeps what it returns in ``found``."""
    return noting_estimator


@pytest.fixture
def loader() -> Callable[..., DataLoader]:
    """A shuffled loader with random MONAI transforms."""
    return random_loader


@pytest.fixture
def items() -> Callable[..., list[dict[str, Tensor]]]:
    """Labeled images as MONAI dictionaries."""
    return dictionaries


@pytest.fixture
def student() -> type[SmallStudent]:
    """The small student's class."""
    return SmallStudent


@pytest.fixture
def gain_teacher() -> type[GainTeacher]:
    """The small teacher's class."""
    return GainTeacher


@pytest.fixture
def tensors() -> Callable[..., tuple[Tensor, Tensor]]:
    """The same images and labels, stacked."""
    return lambda **options: stacked(dictionaries(**options))


@pytest.fixture
def batches() -> Callable[..., Any]:
    """An unshuffled loader of pairs."""
    return plain_loader
