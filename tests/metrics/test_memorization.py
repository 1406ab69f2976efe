# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics import memorization, small_pixels
from monai_gmcl.metrics.memorization import QUERIES


def drawn(n, seed, shape=(1, 6, 6)):
    """Images that lie near a surface of few dimensions, as real ones do."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(6, *shape, generator=torch.Generator().manual_seed(99))
    return torch.einsum("nk,k...->n...", torch.randn(n, 6, generator=generator), basis)


def test_distances_are_those_of_all_pairs():
    synthetic, real = drawn(300, 0), drawn(400, 1)
    found = memorization(synthetic, real)
    ours, theirs = (images.flatten(1).double().numpy() for images in (synthetic, real))
    pairs = np.sqrt(((ours[:, None] - theirs) ** 2).mean(2))
    np.testing.assert_allclose(found.distances, pairs.min(1))
    np.testing.assert_array_equal(found.nearest, pairs.argmin(1))
    others = np.sqrt(((theirs[:, None] - theirs) ** 2).mean(2)) + np.diag(np.full(400, np.inf))
    np.testing.assert_allclose(found.real_distances, others.min(1))
    assert found.threshold == pytest.approx(np.quantile(others.min(1), 0.05))


@pytest.mark.parametrize("quantile", [0.05, 0.2])
def test_of_fresh_images_as_many_are_flagged_as_the_quantile_says(quantile):
    shares = [memorization(drawn(400, 2 * k), drawn(400, 2 * k + 1), quantile=quantile).share for k in range(10)]
    assert np.mean(shares) == pytest.approx(quantile, abs=3 * np.sqrt(quantile / 4000) + 0.01)


def test_copies_are_flagged_and_found():
    real = drawn(100, 0)
    synthetic = torch.cat([drawn(50, 1), real[[7, 3]]])
    found = memorization(synthetic, real)
    assert set(found.closest(2)) == {50, 51}
    assert found.distances[50:].tolist() == [0, 0] and found.nearest[50:].tolist() == [7, 3]
    assert found.flagged[50:].all() and found.share < 0.3


def test_copies_are_flagged_where_real_images_stand_twice():
    real = drawn(20, 0).repeat(2, 1, 1, 1)
    found = memorization(real[:4], real)
    assert found.threshold == 0 and found.share == 1


def test_features_see_through_a_change_that_pixels_do_not():
    real = drawn(100, 0)
    brightened = real + 5
    assert memorization(brightened, real).share == 0

    def without_brightness(images):
        return images - images.mean((1, 2, 3), keepdim=True)

    found = memorization(brightened, real, without_brightness)
    assert found.share == 1 and found.nearest.tolist() == list(range(100))


def test_small_pixels_compare_images_of_different_sizes():
    real = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    doubled = real.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = memorization(doubled, real, small_pixels)
    assert found.nearest.tolist() == [0, 1, 2, 3, 4] and float(found.distances.max()) < 1e-6
    assert small_pixels(torch.rand(2, 1, 20, 9, 40)).shape == (2, 16**3)


def test_of_very_many_real_images_a_part_is_asked_for_its_neighbor():
    real = torch.rand(QUERIES + 500, 4, generator=torch.Generator().manual_seed(0))
    found = memorization(real[-1:], real)
    assert len(found.real_distances) == QUERIES and found.nearest.tolist() == [QUERIES + 499]


@pytest.mark.parametrize(
    ("synthetic", "real", "options", "message"),
    [
        (0, 5, {}, "at least 1 synthetic and 3 real images, got 0 and 5"),
        (5, 2, {}, "got 5 and 2"),
        (5, 5, {"quantile": 0.0}, "quantile must be above 0 and below 1"),
    ],
)
def test_too_few_images_are_refused(synthetic, real, options, message):
    with pytest.raises(ConfigurationError, match=message):
        memorization(torch.rand(synthetic, 4), torch.rand(real, 4), **options)


def test_different_shapes_are_refused():
    with pytest.raises(ConfigurationError, match=r"one shape, got \(1, 4, 4\) and \(1, 8, 8\)"):
        memorization(torch.rand(3, 1, 4, 4), torch.rand(3, 1, 8, 8))
