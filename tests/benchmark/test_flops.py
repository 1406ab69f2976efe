# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

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
