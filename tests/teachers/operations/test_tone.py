# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.teachers.operations.tone import Brightness, ChannelGain, Contrast, Gamma, Saturation


def random_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_brightness_moves_each_image_by_its_own_amount():
    images = random_images(2, 1, 4, 4)
    changed = Brightness().apply(images, torch.tensor([[1.0], [0.25]]), torch.tensor([0.2, 0.4]))
    torch.testing.assert_close(changed - images, torch.tensor([0.2, -0.2]).view(2, 1, 1, 1).expand_as(images))


def test_contrast_keeps_the_mean():
    images = random_images(2, 3, 5, 5)
    changed = Contrast().apply(images, torch.tensor([[1.0], [0.0]]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(changed.mean((1, 2, 3)), images.mean((1, 2, 3)))
    torch.testing.assert_close(changed.std((1, 2, 3)) / images.std((1, 2, 3)), torch.tensor([1.5, 0.5]))


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_gamma_keeps_black_and_white_and_has_finite_gradients_there(draw):
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).requires_grad_()
    strength = torch.tensor([1.0], requires_grad=True)
    changed = Gamma().apply(images, torch.tensor([[draw]]), strength)
    torch.testing.assert_close(changed, images)
    for gradient in torch.autograd.grad(changed.sum(), (images, strength)):
        assert gradient.isfinite().all()


def test_channel_gain_multiplies_each_channel():
    images = random_images(1, 2, 4, 4)
    changed = ChannelGain().apply(images, torch.tensor([[1.0, 0.0]]), torch.tensor([0.25]))
    torch.testing.assert_close(changed, images * torch.tensor([1.25, 0.75]).view(1, 2, 1, 1))


def test_saturation_leaves_gray_alone_and_takes_color_out():
    gray = random_images(1, 1, 4, 4).expand(1, 3, 4, 4)
    torch.testing.assert_close(Saturation().apply(gray, torch.tensor([[1.0]]), torch.tensor([0.5])), gray)
    colored = random_images(1, 3, 4, 4)
    drained = Saturation().apply(colored, torch.tensor([[0.0]]), torch.tensor([1.0]))
    torch.testing.assert_close(drained, drained[:, :1].expand_as(drained))


def test_channels_decide_what_suits():
    assert [ChannelGain.suits(n) for n in (1, 2, 3)] == [False, True, True]
    assert [Saturation.suits(n) for n in (1, 2, 3)] == [False, False, True]
