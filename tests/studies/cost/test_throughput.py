# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import pytest

import studies.cost.throughput as throughput_module
from studies.cost.throughput import throughput


def test_each_trainer_stands_beside_the_supervised_one(capsys: pytest.CaptureFixture[str]) -> None:
    throughput(device="cpu", size=16, batch=2, iterations=4, warm_up=1, rounds=2)
    told = capsys.readouterr().out
    assert "MONAI resnet18, 3 x 16 x 16, B = 2, 4 iterations, 2 rounds" in told
    for name in throughput_module.TRAINERS:
        assert told.count(f", {name}: ") == 2
        found = re.search(rf"^{name} +([\d.]+) +([\d.]+) +([\d.]+) +- +\(\d+-\d+\)$", told, re.MULTILINE)
        assert found, told
        rate, ratio, time = map(float, found.groups())
        assert rate > 0 and ratio * time == pytest.approx(1, rel=0.3)
        if name == "supervised":
            assert ratio == time == 1
