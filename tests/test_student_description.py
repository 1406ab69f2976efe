# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0


from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_gmcl import StudentDescription
from monai_gmcl.exceptions import ConfigurationError

GIVEN: dict[str, Any] = {"class_names": ["benign", "malignant"], "spatial_dims": 3, "channels": 1}


def test_one_number_stands_for_all_sides() -> None:
    one = StudentDescription(**GIVEN, image_size=32, image_crop=(40, 40, 20), spacing=1, intensity_range=(0, 100))
    other = StudentDescription(
        **GIVEN, image_size=[32, 32, 32], image_crop=[40, 40, 20], spacing=[1.0] * 3, intensity_range=[0.0, 100.0]
    )
    assert one == other
    assert one.told() == other.told()
    assert one.num_classes == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"class_names": []}, "class_names"),
        ({"class_names": ["a", "a"]}, "distinct"),
        ({"spatial_dims": 4}, "spatial_dims must be 2 or 3, got 4"),
        ({"channels": 0}, "channels must be a whole number of at least 1, got 0"),
        ({"channels": 1e30}, "channels"),
        ({"channels": 10**30}, "channels"),
        ({"channels": 10**6}, "channels must be at most"),
        ({"image_size": 10**5}, "image_size must be of at most"),
        ({"spacing": float("inf")}, "spacing must be a finite number"),
        ({"split": 5}, "split must be a mapping of settings"),
        ({"image_size": [32, 32]}, "image_size must be one number or 3"),
        ({"image_size": True}, "image_size"),
        ({"image_crop": "all"}, "image_crop"),
        ({"spacing": float("nan")}, "spacing must be a finite number"),
        ({"spacing": 0}, "spacing must be above 0"),
        ({"intensity_range": [100, 0]}, "intensity_range"),
        ({"intensity_range": 100}, "intensity_range"),
        ({"task": "detection"}, "task must be one of classification, multi_label, segmentation"),
    ],
)
def test_what_cannot_be_is_an_error_that_names_it(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        StudentDescription(**{**GIVEN, **wrong})


def test_what_agrees_passes_however_it_is_written() -> None:
    student = StudentDescription(["0", "10"], 2, 3, image_size=64)
    student.check(class_names=[0, 10], num_classes=2, image_size=64, image_crop=None, task="classification")
    student.check(image_size=(64, 64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_names": ["malignant", "benign"]}, r"class_names is \[malignant, benign\], in .* was \[benign, malig"),
        ({"class_names": "benign"}, "class_names"),
        ({"num_classes": 3}, "num_classes is 3, in the training it was 2"),
        ({"channels": 3, "spatial_dims": 2}, "channels is 3, in the training it was 1; spatial_dims is 2"),
        ({"image_size": 96}, r"image_size is 96, in the training it was \[64, 64, 64\]"),
        ({"image_size": None}, "image_size is not given"),
        ({"spacing": 1.5}, "spacing is 1.5, in the training it was not given"),
        ({"task": "multi_label"}, "task is multi_label"),
    ],
)
def test_what_differs_is_an_error_that_names_both(given: dict[str, Any], message: str) -> None:
    student = StudentDescription(**GIVEN, image_size=64, source="run/model.pt")
    with pytest.raises(ConfigurationError, match=message) as caught:
        student.check(**given)
    assert "run/model.pt" in str(caught.value) and "Remove the setting" in str(caught.value)


class Halved(nn.Module):
    """Takes even sides only, and forgets one pixel of those below 8."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        both = images + nn.functional.interpolate(images[..., ::2, ::2], scale_factor=2.0)
        return both if images.shape[-1] >= 8 else both[..., 1:]


@pytest.mark.parametrize(("size", "told"), [(8, None), (9, "an error.*size of tensor"), (6, r"masks of \[6, 5\]")])
def test_a_size_of_patches_that_the_network_does_not_take_is_an_error(size: int, told: str | None) -> None:
    network = Halved()
    student = StudentDescription(["a", "b"], 2, 1, task="segmentation", patch_size=size)
    if told is None:
        student.check_patches(network)
    else:
        with pytest.raises(ConfigurationError, match=f"patch_size.*{told}"):
            student.check_patches(network)
    assert network.training
