# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn

from monai_gmcl.benchmark.flops import FlopCounter


def counted(work: object) -> int:
    with FlopCounter() as counter:
        work()  # type: ignore[operator]
    return counter.total


def test_a_linear_layer_takes_two_operations_for_each_weight_and_image() -> None:
    layer, images = nn.Linear(7, 5, bias=False), torch.rand(3, 7)
    assert counted(lambda: layer(images)) == 2 * 3 * 7 * 5


def test_a_convolution_takes_two_operations_for_each_weight_and_output_pixel() -> None:
    layer, images = nn.Conv2d(3, 8, 3, padding=1), torch.rand(2, 3, 10, 10)
    assert counted(lambda: layer(images)) == 2 * 2 * (8 * 3 * 9) * 100


def test_a_backward_pass_to_weights_and_images_takes_twice_the_forward_pass() -> None:
    layer, images = nn.Conv2d(3, 8, 3, padding=1), torch.rand(2, 3, 10, 10, requires_grad=True)
    forward = counted(lambda: layer(images))
    loss = layer(images).square().sum()
    assert counted(lambda: loss.backward()) == 2 * forward
    loss = layer(images).square().sum()
    assert counted(lambda: torch.autograd.grad(loss, images)) == forward


def test_a_double_backward_pass_counts() -> None:
    layer, images = nn.Linear(7, 5, bias=False), torch.rand(3, 7, requires_grad=True)
    unit = 2 * 3 * 7 * 5
    (gradient,) = torch.autograd.grad(layer(images).square().sum(), layer.weight, create_graph=True)
    # gradient = d^T x with d = 2 x W^T: two products by x, directly and through d
    assert counted(lambda: torch.autograd.grad(gradient.square().sum(), images)) == 3 * unit


def test_nothing_is_counted_outside() -> None:
    layer, counter = nn.Linear(7, 5), FlopCounter()
    layer(torch.rand(3, 7))
    with counter:
        pass
    layer(torch.rand(3, 7))
    assert counter.total == 0


def test_a_double_backward_pass_of_a_convolution_counts() -> None:
    layer, images = nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.rand(2, 3, 10, 10, requires_grad=True)
    unit = counted(lambda: layer(images))
    (gradient,) = torch.autograd.grad(layer(images).square().sum(), layer.weight, create_graph=True)
    # as for the linear layer: gradient = 2 conv(x)^T x, by x directly and through conv(x)
    assert counted(lambda: torch.autograd.grad(gradient.square().sum(), images)) == 3 * unit


def test_groups_take_their_share_forward_and_backward() -> None:
    layer, images = nn.Conv2d(4, 8, 3, padding=1, groups=4), torch.rand(2, 4, 10, 10, requires_grad=True)
    forward = 2 * 2 * (8 * 1 * 9) * 100
    assert counted(lambda: layer(images)) == forward
    loss = layer(images).sum()
    assert counted(lambda: loss.backward()) == 2 * forward


def test_a_transposed_convolution_takes_two_operations_for_each_weight_and_input_pixel() -> None:
    layer, images = nn.ConvTranspose2d(4, 8, 3, stride=2), torch.rand(2, 4, 10, 10, requires_grad=True)
    forward = 2 * 2 * (4 * 8 * 9) * 100
    assert counted(lambda: layer(images)) == forward
    loss = layer(images).sum()
    assert counted(lambda: loss.backward()) == 2 * forward


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_passes_without_gradients_count_alike(mode: Callable[[], AbstractContextManager[None]]) -> None:
    layers, images = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 64, 5)), torch.rand(2, 3, 10, 10)
    with mode():
        assert counted(lambda: layers(images)) == 2 * 2 * (8 * 3 * 9 * 64 + 8 * 64 * 5)


def test_attention_takes_two_products_forward_and_five_backward() -> None:
    query = torch.rand(1, 2, 4, 8, requires_grad=True)
    product = 2 * 2 * 4 * 4 * 8
    assert counted(lambda: nn.functional.scaled_dot_product_attention(query, query, query)) == 2 * product
    loss = nn.functional.scaled_dot_product_attention(query, query, query).sum()
    # four gradients, and the scores once more
    assert counted(lambda: loss.backward()) == 5 * product
