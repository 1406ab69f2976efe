# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import pytest

import studies.cost.throughput as throughput_module
from monai_gmcl.exceptions import ConfigurationError
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


def test_an_error_stands_in_its_own_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(name: str, *_: object) -> tuple[float, float]:
        if name == "GAN stage":
            raise RuntimeError("out of memory\nand more")
        return {"supervised": 100.0}.get(name, 25.0), 512.0

    monkeypatch.setattr(throughput_module, "_measure", measure)
    throughput(device="cpu", size=2, batch=1)
    lines = capsys.readouterr().out.splitlines()
    assert "GAN stage                       failed: RuntimeError: out of memory" in lines
    assert "GMCL, teacher every 4th               25.0    0.25    4.00      512   (25-25)" in lines
    assert sum("GAN stage" in line for line in lines) == 2


def test_without_an_iteration_there_is_nothing_to_time() -> None:
    with pytest.raises(ConfigurationError, match="at least one iteration and one to warm up, got 0 and 10"):
        throughput(device="cpu", iterations=0)
