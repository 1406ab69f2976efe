# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl import GMCLEvents, GMCLTrainer, LookAheadWeighting

Build = Callable[..., GMCLTrainer]

STEP = 1e-5


def smooth_student() -> nn.Module:
    torch.manual_seed(4)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*body, nn.Linear(4, 2)).double()


def central_differences(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """How the mean loss on the images changes with each number of each parameter."""
    found = {}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            slopes = []
            for place in range(parameter.numel()):
                losses = []
                for step in (STEP, -STEP):
                    moved = deepcopy(network)
                    moved.get_parameter(name).view(-1)[place] += step
                    losses.append(nn.functional.cross_entropy(moved(images), labels))
                slopes.append((losses[0] - losses[1]) / (2 * STEP))
            found[name] = torch.stack(slopes).view_as(parameter)
    return found


@pytest.mark.parametrize("meta", [False, True])
def test_v_is_the_gradient_of_the_mean_loss_on_the_images_that_come_next(
    meta: bool, trainer: Build, tensors: Any, batches: Any, gain_teacher: Any
) -> None:
    images, labels = tensors(n=10)
    images = images.double()
    trusted = (images[:6].flip(3), labels[:6])
    network = smooth_student()
    run = trainer(
        network=network,
        teacher=gain_teacher().double(),
        train_data_loader=batches(images, labels),
        meta_data_loader=[trusted] if meta else None,
        max_epochs=1,
    )
    compared = []

    @run.on(GMCLEvents.LESSON_COMPLETED)
    def compare() -> None:
        if run.state.iteration == 2:
            looked_at = trusted if meta else (run.state.output["image"], run.state.output["label"])
            expected = central_differences(network, *looked_at)
            found = run.look_ahead.gradient
            assert found.keys() == expected.keys()
            compared.extend((found[name].clone(), expected[name]) for name in expected)

    run.run()
    assert len(compared) == 6
    for found, expected in compared:
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_a_teacher_that_is_updated_by_meta_images_goes_another_way(trainer: Build, tensors: Any, batches: Any) -> None:
    images, labels = tensors(n=6)
    ends = []
    for loader in (None, batches(images, labels)):
        run = trainer(meta_data_loader=loader)
        run.run()
        ends.append(run.teacher.gain.item())
    assert ends[0] != ends[1]


@pytest.mark.parametrize(
    ("changes", "drawn"),
    [
        ({}, 9),
        ({"teacher_interval": 3}, 3),
        ({"teacher_optimizer": None}, 0),
        ({"teacher_optimizer": None, "weighting": LookAheadWeighting()}, 10),
    ],
)
def test_meta_images_are_drawn_only_where_something_depends_on_them(
    changes: dict[str, Any], drawn: int, trainer: Build, tensors: Any
) -> None:
    images, labels = tensors(n=6)
    run = trainer(meta_data_loader=[(images, labels)], **changes)
    run.run()
    place = run.look_ahead.state_dict()
    assert place is not None and place["passes"] + place["position"] == drawn
    assert run.look_ahead.gradient == {}


def test_the_pass_on_meta_images_leaves_running_statistics_as_they_are(
    trainer: Build, tensors: Any, batches: Any
) -> None:
    images, labels = tensors(n=5)
    statistics = []
    for meta in (None, [(images.flip(3) / 2, labels)]):
        run = trainer(train_data_loader=batches(images, labels), meta_data_loader=meta, max_epochs=1)
        run.run()
        statistics.append(run.network.body[1].running_mean.clone())
    assert torch.equal(*statistics)
