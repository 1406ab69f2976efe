# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_gmcl.teachers.operations.warp import Warp, along_axes


def random_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_identity_moves_nothing():
    for shape in [(2, 3, 7, 10), (2, 1, 5, 6, 7)]:
        images = random_images(*shape)
        torch.testing.assert_close(Warp.identity(images).sample(images), images)


def test_a_translation_is_in_pixels_and_reflects_at_the_border():
    images = random_images(1, 2, 5, 8)
    logarithm = images.new_zeros(1, 3, 3)
    logarithm[0, 0, 2] = 2.0
    moved = Warp.identity(images).add(logarithm).sample(images)
    torch.testing.assert_close(moved[..., :6], images[..., 2:])
    torch.testing.assert_close(moved[..., 6:], images[..., 6:].flip(-1))


def test_displacements_add_up_in_half_image_sizes():
    images = random_images(1, 1, 6, 6)
    half = images.new_zeros(1, 6, 6, 2)
    half[..., 1] = 1 / 6
    moved = Warp.identity(images).displace(half).displace(half).sample(images)
    torch.testing.assert_close(moved[:, :, :5], images[:, :, 1:])


def test_matrices_apply_along_their_axes():
    images = random_images(2, 3, 4, 5, 6)
    first, second, third = random_images(7, 4), random_images(2, 5, 5), random_images(3, 6)
    expected = torch.einsum("bcdhw,id,bjh,kw->bcijk", images, first, second, third)
    torch.testing.assert_close(along_axes(images, [first, second, third]), expected)


def test_labels_take_the_nearest_value_and_a_padding_from_outside():
    labels = torch.tensor([[[[1, 2, 3, 4, 5]]]], dtype=torch.uint8)
    logarithm = torch.zeros(1, 3, 3)
    logarithm[0, 0, 2] = 1.6
    warp = Warp((1, 5), logarithm)
    assert warp.sample_labels(labels).tolist() == [[[[3, 4, 5, 5, 4]]]]
    assert warp.sample_labels(labels, padding=9).tolist() == [[[[3, 4, 5, 9, 9]]]]
