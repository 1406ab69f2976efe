# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from studies.policies.tasks import TASKS, TaskData

CHANGED = [name for name, task in TASKS.items() if not task.is_control]


def smooth(n: int, channels: int = 3) -> Tensor:
    """Images with something to see in them, no two alike."""
    coarse = torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=(40, 40), mode="bilinear")


def both(name: str, normal: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same image as class 0 and as class 1, with nothing that varies within a class."""
    change = TASKS[name].change
    assert change is not None
    images = smooth(1).expand(2, -1, -1, -1)
    low, high = change(images, torch.tensor([0, 1]), torch.zeros(2, 2) if normal is None else normal)
    return low, high


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_keeps_size_and_range_and_tells_the_classes_apart(name: str) -> None:
    change = TASKS[name].change
    assert change is not None
    images, classes = smooth(8), torch.arange(8) % 2
    normal = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    changed = change(images, classes, normal)
    assert changed.shape == images.shape and changed.min() >= 0 and changed.max() <= 1
    low, high = both(name)
    assert (low - high).abs().mean() > 0.005


@pytest.mark.parametrize("name", ["stain", "mirrored", "pneumonia"])
def test_labeled_images_are_drawn_by_seed_and_are_not_measured_on(name: str, real_data: Callable[[str], Path]) -> None:
    root = real_data(TASKS[name].source).parent
    data = TaskData(name, root)
    (images, labels), (held_out, _) = data.draw(41, 3)
    assert images.shape[1:] == (data.options.channels, *data.options.image_size)
    assert torch.bincount(labels).tolist() == [21, 20]
    again, other = data.draw(41, 3)[0][0], data.draw(41, 4)[0][0]
    assert torch.equal(images, again) and not torch.equal(images, other)
    drawn = {image.numpy().tobytes() for image in images}

    assert sum(image.numpy().tobytes() in drawn for image in held_out) == 0
    with pytest.raises(ConfigurationError, match="expected n of 2 images or more"):
        data.draw(100_000, 0)
    with pytest.raises(ConfigurationError, match="got 1"):
        data.draw(1, 0)
