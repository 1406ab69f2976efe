# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError, ImageRangeError
from monai_gmcl.teachers.base import Teacher, draw_latents


class Doubling(Teacher):
    """Doubles the image and remembers what it was given."""

    def __init__(self, spatial_dims: int, in_channels: int, extra: float = 3.0, **options: Any) -> None:
        super().__init__(spatial_dims, in_channels, num_classes=2, **options)
        self.extra = extra
        self.seen: Tensor | None = None

    def draw_latents(self, n, image_shape, generator=None):
        return torch.rand(n, 1, generator=generator)

    def change(self, images, labels, latents, difficulty):
        self.seen = images
        return 2 * images


LABELS, LATENTS = torch.tensor([0, 1]), torch.zeros(2, 1)


def test_the_constructor_s_arguments_are_recorded_however_they_are_given():
    teacher = Doubling(2, in_channels=3, value_range=(0, 2))
    assert teacher.config == {"spatial_dims": 2, "in_channels": 3, "value_range": (0, 2)}
    assert Doubling(**teacher.config).value_range == (0.0, 2.0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda teacher: pickle.loads(pickle.dumps(teacher))])
def test_copies_keep_the_recorded_arguments(duplicate):
    assert duplicate(Doubling(2, 1, extra=5.0)).config == {"spatial_dims": 2, "in_channels": 1, "extra": 5.0}


def test_the_class_shows_its_constructor_s_signature():
    assert list(inspect.signature(Doubling).parameters) == ["spatial_dims", "in_channels", "extra", "options"]


def test_a_missing_argument_raises_as_usual():
    with pytest.raises(TypeError, match="in_channels"):
        Doubling(2)


def test_difficulty_0_returns_the_same_bits_even_with_mean_and_std():
    images = torch.randn(2, 1, 4, 4)
    teacher = Doubling(2, 1, mean=[0.3], std=[0.17])
    assert torch.equal(teacher(images, LABELS, LATENTS, 0.0), images)


@pytest.mark.parametrize("difficulty", [-0.1, float("nan")])
def test_a_difficulty_below_0_raises(difficulty):
    with pytest.raises(ConfigurationError, match="difficulty must be at least 0"):
        Doubling(2, 1)(torch.zeros(2, 1, 4, 4), LABELS, LATENTS, difficulty)


def test_the_teacher_works_on_unnormalized_images_and_returns_normalized_ones():
    teacher = Doubling(2, 2, mean=[0.5, 0.25], std=[0.25, 0.5])
    raw = torch.full((2, 2, 4, 4), 0.375)
    mean, std = torch.tensor([0.5, 0.25]).view(2, 1, 1), torch.tensor([0.25, 0.5]).view(2, 1, 1)
    changed = teacher((raw - mean) / std, LABELS, LATENTS)
    torch.testing.assert_close(teacher.seen, raw)
    torch.testing.assert_close(changed, (2 * raw - mean) / std)


def test_results_stay_in_the_value_range():
    changed = Doubling(2, 1, value_range=(-1, 0.5))(torch.tensor([0.4, -0.9]).view(2, 1, 1, 1), LABELS, LATENTS)
    assert changed.flatten().tolist() == pytest.approx([0.5, -1.0])


def test_images_out_of_range_raise_with_the_remedy():
    teacher = Doubling(2, 1)
    teacher.check_range(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    with pytest.raises(ImageRangeError, match=r"from 0 to 1 .* got -2 to 255\. .*value_range.*mean and std"):
        teacher.check_range(torch.tensor([-2.0, 255.0]).view(2, 1, 1, 1))


def test_normalized_images_are_in_range_where_mean_and_std_say_so():
    Doubling(2, 1, mean=[0.5], std=[0.25]).check_range(torch.tensor([-2.0, 2.0]).view(2, 1, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"in_channels": 0}, "at least 1, got 0"),
        ({"value_range": (1, 1)}, "low < high"),
        ({"mean": [0.0]}, "both be given, or neither"),
        ({"mean": [0.0, 1.0], "std": [1.0]}, "mean must have 1 or 3 values, got 2"),
        ({"mean": [0.0], "std": [0.0]}, "std must be positive"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Doubling(**{"spatial_dims": 2, "in_channels": 3, **arguments})


def test_a_plain_module_gets_normal_latents_from_the_given_generator():
    first, second = (draw_latents(nn.Identity(), 4, (1, 8, 8), torch.Generator().manual_seed(7)) for _ in range(2))
    assert first.shape == (4, 64)
    assert torch.equal(first, second)
    assert first.min() < 0


def test_a_teacher_s_own_latents_are_used():
    assert draw_latents(Doubling(2, 1), 4, (1, 8, 8), torch.Generator().manual_seed(7)).shape == (4, 1)
