# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from torch import Tensor

from monai_gmcl import GMCLTrainer
from monai_gmcl.engines.checks_of_range import RangeCheck
from monai_gmcl.exceptions import ImageRangeError

Build = Callable[..., GMCLTrainer]


@pytest.mark.parametrize("first", [1, 5, 21])
def test_the_first_image_out_of_range_ends_the_run_whichever_it_is(first: int, trainer: Build, items: Any) -> None:
    data = items()
    for i in range(first, len(data)):
        data[i]["image"] = MetaTensor(data[i]["image"] * 3000 - 1000, meta={"filename_or_obj": f"ct_{i}.nii"})
    for i in range(first):
        data[i]["image"] = MetaTensor(data[i]["image"], meta={"filename_or_obj": f"ct_{i}.nii"})
    run = trainer(train_data_loader=DataLoader(Dataset(data), batch_size=5))
    with pytest.raises(
        ImageRangeError, match=r"Image \d of a batch, ct_\d+\.nii,: Expected images with values from 0 to 1"
    ):
        run.run()
    assert run.state.iteration == first // 5 + 1


def test_unlabeled_images_out_of_range_end_the_run(trainer: Build, items: Any) -> None:
    unlabeled = DataLoader(Dataset([{"image": item["image"] * 255} for item in items(6)]), batch_size=3)
    with pytest.raises(ImageRangeError, match="Expected images with values from 0 to 1"):
        trainer(unlabeled_data_loader=unlabeled).run()


def test_a_channel_out_of_range_is_seen_un_normalized(gain_teacher: Any) -> None:
    teacher = gain_teacher(mean=[0.5, 0.5, 0.0], std=[0.25, 0.25, 1.0])
    check = RangeCheck(teacher)
    check(torch.tensor([2.0, -2.0, 1.0]).view(1, 3, 1, 1))
    for beyond in ([3.0, 0.0, 0.0], [0.0, -3.0, 0.0], [0.0, 0.0, 1.6]):
        with pytest.raises(ImageRangeError):
            check(torch.tensor(beyond).view(1, 3, 1, 1))


def test_noise_that_goes_a_little_beyond_is_said_once(gain_teacher: Any, caplog: pytest.LogCaptureFixture) -> None:
    check, images = RangeCheck(gain_teacher()), torch.full((2, 3, 4, 4), 1.05)
    with caplog.at_level(logging.WARNING):
        check(images), check(images), check(torch.ones(2, 3, 4, 4))
    assert [record.message[-120:-60] for record in caplog.records] and len(caplog.records) == 1
    assert "beyond the teacher's value_range, 0 to 1, by 0.05" in caplog.text


def test_volumes_are_looked_at_too(gain_teacher: Any) -> None:
    volumes: Tensor = torch.rand(2, 1, 4, 4, 4)
    check = RangeCheck(gain_teacher(in_channels=1, spatial_dims=3, value_range=(-1000.0, 2000.0)))
    check(volumes * 3000 - 1000)
    with pytest.raises(ImageRangeError, match=r"Image 1 of a batch: .*got .* to 5000"):
        check(torch.cat([volumes[:1], torch.full((1, 1, 4, 4, 4), 5000.0)]))
