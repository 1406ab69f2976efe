# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics import diversity, diversity_kept, teacher_diversity
from monai_gmcl.teachers import Teacher
from monai_gmcl.teachers.latent import LatentTeacher

LABELS = torch.tensor([0, 1, 1])


class Brightening(Teacher):
    """Adds to each image its own normal number, times a learned strength that starts at .1."""

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, num_classes: int = 2, **options) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, **options)
        self.strength = torch.nn.Parameter(torch.tensor(0.1))

    def draw_latents(self, n, image_shape, generator=None):
        return torch.randn(n, 1, generator=generator)

    def change(self, images, labels, latents, difficulty):
        amounts = difficulty * self.strength * latents
        return images + amounts.view(-1, *[1] * (images.ndim - 1))


def wide_range(strength: float = 0.1) -> Brightening:
    teacher = Brightening(value_range=(-100.0, 100.0))
    teacher.strength.data.fill_(strength)
    return teacher


def test_diversity_is_the_root_mean_square_difference_on_average_over_all_pairs():
    # squares 9, 16, 0, 0: root of 25 / 4
    assert diversity(torch.tensor([[0.0, 0.0, 1.0, 2.0], [3.0, 4.0, 1.0, 2.0]])) == pytest.approx(2.5)
    images = np.random.default_rng(0).random((5, 3, 4, 4))
    pairs = [np.sqrt(((a - b) ** 2).mean()) for a, b in itertools.combinations(images, 2)]
    assert diversity(torch.from_numpy(images)) == pytest.approx(np.mean(pairs))
    assert diversity(torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8)) == 0


def test_what_has_no_diversity_to_compare_raises():
    with pytest.raises(ConfigurationError, match="at least two images, got 1"):
        diversity(torch.rand(1, 1, 8, 8))
    with pytest.raises(ConfigurationError, match="identical at difficulty 0"):
        diversity_kept(wide_range(), torch.rand(3, 1, 4, 4), LABELS, difficulty=0.0)


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (3, 1, 4, 4, 4)])
def test_of_a_teacher_only_the_draws_of_one_source_are_compared(shape):
    images = torch.rand(shape) + torch.tensor([0.0, 10.0, 20.0]).view(3, *[1] * (len(shape) - 1))
    # the absolute difference of two normal numbers is 2 / sqrt(pi) on average
    found = teacher_diversity(wide_range(), images, LABELS, draws=400)
    assert found == pytest.approx(0.1 * 2 / np.sqrt(np.pi), rel=0.05)


def test_the_same_seed_gives_the_same_number_and_another_seed_another():
    images = torch.rand(3, 1, 4, 4)
    first, second, other = (teacher_diversity(wide_range(), images, LABELS, seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_diversity_grows_with_difficulty():
    images = torch.rand(3, 1, 4, 4)
    half, whole = (teacher_diversity(wide_range(), images, LABELS, difficulty) for difficulty in (0.5, 1.0))
    assert whole == pytest.approx(2 * half, rel=1e-4)


def test_of_a_teacher_without_sources_draws_of_one_label_are_compared():
    torch.manual_seed(0)
    teacher = LatentTeacher(2, 1, 2, image_size=8, channels=4)
    images = torch.zeros(3, 1, 8, 8)
    assert teacher_diversity(teacher, images, LABELS, 0.0) == pytest.approx(0, abs=1e-6)
    assert teacher_diversity(teacher, images, LABELS, 1.0) > 0.05


def test_a_trained_teacher_is_compared_with_its_untrained_self():
    images = torch.rand(3, 1, 4, 4)
    assert diversity_kept(wide_range(), images, LABELS) == 1
    assert diversity_kept(wide_range(0.03), images, LABELS) == pytest.approx(0.3, rel=1e-4)


def test_comparing_leaves_the_teacher_and_the_global_random_numbers_alone():
    teacher, images = wide_range(0.2).eval(), torch.rand(3, 1, 4, 4)
    state = torch.get_rng_state()
    diversity_kept(teacher, images, LABELS)
    assert torch.equal(torch.get_rng_state(), state)
    assert not teacher.training
    assert teacher.strength.grad is None
