# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_gmcl.teachers.operations.warp import Warp


def random_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_translation_is_in_pixels_and_reflects_at_the_border():
    images = random_images(1, 2, 5, 8)
    logarithm = images.new_zeros(1, 3, 3)
    logarithm[0, 0, 2] = 2.0
    moved = Warp.identity(images).add(logarithm).sample(images)
    torch.testing.assert_close(moved[..., :6], images[..., 2:])
    torch.testing.assert_close(moved[..., 6:], images[..., 6:].flip(-1))
