# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.latent import LatentTeacher

LABELS = torch.tensor([0, 1, 1, 0])


def build(spatial_dims: int = 2, in_channels: int = 3, num_classes: int = 2, image_size=16, **options) -> LatentTeacher:
    torch.manual_seed(0)
    return LatentTeacher(spatial_dims, in_channels, num_classes, image_size, **{"channels": 4, **options})


def draw(teacher: LatentTeacher, n: int = 4, seed: int = 1) -> torch.Tensor:
    shape = (teacher.in_channels, *teacher.image_size)
    return teacher.draw_latents(n, shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("spatial_dims", "image_size", "expected"),
    [(2, 32, (32, 32)), (2, 28, (28, 28)), (2, (17, 40), (17, 40)), (2, 5, (5, 5)), (3, (9, 16, 12), (9, 16, 12))],
)
def test_images_have_the_size_asked_for_and_lie_in_range(spatial_dims, image_size, expected):
    teacher = build(spatial_dims, 1, image_size=image_size, value_range=(-2.0, 3.0))
    images = teacher(None, LABELS, draw(teacher))
    assert images.shape == (4, 1, *expected)
    assert images.min() > -2 and images.max() < 3


def test_it_needs_no_images_and_does_not_look_at_any():
    teacher = build()
    assert not teacher.needs_images
    latents = draw(teacher)
    assert torch.equal(teacher(torch.rand(4, 3, 16, 16), LABELS, latents), teacher(None, LABELS, latents))


def test_the_label_shows():
    teacher = build()
    latents = draw(teacher)
    difference = teacher(None, LABELS, latents) - teacher(None, 1 - LABELS, latents)
    assert difference.abs().flatten(1).mean(1).min() > 0.01


def test_labels_as_rows_of_numbers_are_taken_too():
    teacher = build()
    latents = draw(teacher)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert torch.equal(teacher(None, rows, latents), teacher(None, LABELS, latents))
    assert torch.isfinite(teacher(None, torch.full((4, 2), 0.5), latents)).all()


def test_difficulty_scales_the_latents():
    teacher = build()
    latents = draw(teacher)
    torch.testing.assert_close(teacher(None, LABELS, latents, 0.5), teacher(None, LABELS, latents / 2, 1.0))


def test_difficulty_0_makes_one_image_a_class():
    teacher = build()
    images = teacher(None, LABELS, draw(teacher), 0.0)
    torch.testing.assert_close(images[0], images[3])
    assert not torch.allclose(images[0], images[1], atol=1e-3)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_parameter_gets_a_gradient_from_the_images(spatial_dims):
    teacher = build(spatial_dims, 1, image_size=12)
    weights = torch.randn(4, 1, *[12] * spatial_dims, generator=torch.Generator().manual_seed(0))
    (weights * teacher(None, LABELS, draw(teacher))).sum().backward()
    for name, parameter in teacher.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": (16, 16, 16)}, "image_size must be 2 numbers"),
        ({"image_size": 1}, "at least 2, got 1"),
        ({"latent_size": 0}, "latent_size must be a whole number, .*at least 1, got 0"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        build(**arguments)
