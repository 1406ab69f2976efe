# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from monai_gmcl.commands.check import check
from monai_gmcl.exceptions import ConfigurationError


def configuration(folder: Path, kind: str = "monai_gmcl.engines.GMCLTrainer") -> Path:
    file = folder / "configs" / "train.yaml"
    file.parent.mkdir()
    gmcl = {
        "teacher": "@teacher",
        "teacher_optimizer": {"_target_": "torch.optim.Adam", "params": "$@teacher.parameters()"},
    }
    trainer = {
        "_target_": kind,
        "device": "cpu",
        "max_epochs": 3,
        "train_data_loader": "@loader",
        "network": "@network",
        "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1},
        "loss_function": {"_target_": "torch.nn.CrossEntropyLoss"},
        "train_handlers": "$1 / 0",
        **(gmcl if "GMCL" in kind else {}),
    }
    content = {
        "imports": ["$import torch"],
        "network": "$torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))",
        "teacher": {
            "_target_": "monai_gmcl.teachers.PolicyTeacher",
            "spatial_dims": 2,
            "in_channels": 1,
            "num_classes": 2,
        },
        "data": "$torch.utils.data.TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8) % 2)",
        "loader": {"_target_": "torch.utils.data.DataLoader", "dataset": "@data", "batch_size": 4},
        "train": {"trainer": trainer},
    }
    file.write_text(yaml.safe_dump(content))
    return file


def test_check_prints_the_cost_of_each_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(str(configuration(tmp_path)), repeats=1, cost=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pass,", "with", "HeadHypergradient", "GFLOP", "share", "ms", "share"]
    assert any(line.split()[:3] == ["estimator", "expected", "measured"] for line in lines)
    traffic = lines[lines.index(next(line for line in lines if line.startswith("host "))) :]
    (numbers,) = [line for line in traffic if line.startswith("random numbers drawn")]
    assert 0 < float(numbers.split()[-1]) <= 64
    assert any("teachers/policy.py" in line for line in traffic)
    assert traffic[-1].endswith("steps have no synchronization")


@pytest.mark.parametrize(
    ("override", "waits", "told"),
    [
        ({}, True, "with SGD.* waits in each step.* SGD.*fused=True.*bfloat16"),
        ({"train#trainer#optimizer#fused": True}, False, "with this SGD, .* does not wait"),
        ({"train#trainer#optimizer#_target_": "torch.optim.RMSprop"}, True, "with RMSprop.*this wait: bfloat16"),
        ({"train#trainer#amp_kwargs": "$dict(dtype=torch.bfloat16)"}, False, "without mixed precision"),
    ],
)
def test_the_cost_of_a_student_in_mixed_precision_names_the_waits_of_its_loss_scale(
    override: dict[str, Any], waits: bool, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(str(configuration(tmp_path)), repeats=1, cost=True, **{"train#trainer#amp": True, **override})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("HeadHypergradient") and line.endswith("%") for line in lines)
    (without,) = [line for line in lines if line.endswith("steps have no synchronization")]
    assert without.startswith("0 of 10" if waits else "9 of 10")
    assert any("without mixed precision" in line for line in lines) and re.search(told, lines[-1])


def test_check_prints_each_estimator_and_runs_no_handler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(str(configuration(tmp_path)), repeats=1)
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if "Hypergradient" in line]
    assert names[0] == "ExactHypergradient" and len(names) == 5
    # A linear student is all head: Head is exact.
    assert next(line for line in lines if line.startswith("HeadHypergradient")).split()[1] == "1.0000"


def test_check_names_a_configuration_that_is_missing_or_trains_otherwise(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="found no file 'nowhere.yaml'"):
        check("nowhere.yaml")
    file = configuration(tmp_path, "monai.engines.SupervisedTrainer")
    with pytest.raises(ConfigurationError, match="to be a GMCLTrainer, got SupervisedTrainer"):
        check(str(file))
