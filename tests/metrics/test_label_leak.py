# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.metrics import label_leak
from monai_gmcl.teachers import Teacher
from monai_gmcl.teachers.image import ImageTeacher
from monai_gmcl.teachers.latent import LatentTeacher

CHANCE = 0.15
"""Two and a half standard errors of the area under the curve with 100 sources."""


class Writing(Teacher):
    """Adds noise, and a brightness that the label sets."""

    def __init__(self, num_classes: int = 2, spatial_dims: int = 2, strength: float = 0.1) -> None:
        super().__init__(spatial_dims, 1, num_classes)
        self.strength = strength

    def draw_latents(self, n, image_shape, generator=None):
        return 0.02 * torch.randn(n, *image_shape, generator=generator)

    def change(self, images, labels, latents, difficulty):
        values = labels.float() if labels.ndim == 1 else labels @ torch.arange(1.0, labels.shape[1] + 1)
        return images + difficulty * (latents + self.strength * values.view(-1, *[1] * (images.ndim - 1)))


class Stretching(Writing):
    """Doubles the contrast whatever the label: the change shows the source."""

    def change(self, images, labels, latents, difficulty):
        return images + difficulty * (images - 0.5)


def sources(n: int = 100, num_classes: int = 2, spatial_dims: int = 2) -> tuple[Tensor, Tensor]:
    """Images that say nothing about their labels."""
    generator = torch.Generator().manual_seed(0)
    images = 0.2 + 0.3 * torch.rand(n, 1, *[8] * spatial_dims, generator=generator)
    return images, torch.arange(n) % num_classes


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_teacher_that_brightens_by_class_leaks_everything(spatial_dims):
    leak = label_leak(Writing(spatial_dims=spatial_dims), *sources(spatial_dims=spatial_dims))
    assert leak.auc > 0.99
    assert abs(leak.unconditioned_auc - 0.5) < CHANCE


def test_a_teacher_that_does_not_look_at_labels_leaks_nothing():
    leak = label_leak(Writing(strength=0.0), *sources())
    assert leak.auc == leak.unconditioned_auc
    assert abs(leak.auc - 0.5) < CHANCE


def test_what_the_sources_show_by_themselves_is_in_both_numbers():
    images, labels = sources()
    leak = label_leak(Stretching(), images + 0.3 * labels.view(-1, 1, 1, 1), labels)
    assert leak.auc == leak.unconditioned_auc > 0.99


@pytest.mark.parametrize("multi_label", [False, True])
def test_several_classes_count_by_one_against_the_rest_and_several_labels_each(multi_label):
    images, labels = sources(120, num_classes=4 if multi_label else 3)
    rows = torch.stack([labels % 2, labels // 2], 1).float() if multi_label else labels
    with torch.no_grad():  # measured also where gradients are switched off
        leak = label_leak(Writing(num_classes=2 if multi_label else 3), images, rows)
    assert leak.auc > 0.9
    assert abs(leak.unconditioned_auc - 0.5) < CHANCE


def test_an_image_teacher_that_was_trained_to_write_the_label_is_found_out():
    torch.manual_seed(0)
    teacher = ImageTeacher(2, 1, 2, condition_on_label=True, color=0.1, residual=0.1)
    images, labels = sources()
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-2)
    for step in range(60):
        latents = teacher.draw_latents(100, (1, 8, 8), torch.Generator().manual_seed(step))
        change = (teacher(images, labels, latents) - images).flatten(1).mean(1)
        optimizer.zero_grad()
        (change * (1 - 2 * labels)).mean().backward()
        optimizer.step()
    leak = label_leak(teacher, images, labels)
    assert leak.auc > leak.unconditioned_auc + 0.15


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_global_random_numbers_alone():
    teacher, (images, labels) = Writing(strength=0.003), sources(40)
    state = torch.get_rng_state()
    first, second, other = (label_leak(teacher, images, labels, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first == second != other


def test_a_teacher_that_changes_nothing_leaks_nothing():
    leak = label_leak(Writing(), *sources(40), difficulty=0.0)
    assert (leak.auc, leak.unconditioned_auc) == (0.5, 0.5)


def test_a_teacher_or_a_class_without_sources_raises():
    with pytest.raises(ConfigurationError, match="LatentTeacher makes images from labels alone"):
        label_leak(LatentTeacher(2, 1, 2, image_size=8, channels=4), *sources())
    with pytest.raises(LabelError, match="at least 4 sources .* has 1 with label 1"):
        label_leak(Writing(), sources(40)[0], (torch.arange(40) < 2).long())
