# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Each script that measures what a step, the data or the checks cost prints what it promises."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from monai_gmcl.data import make_phantom
from monai_gmcl.exceptions import ConfigurationError
from studies.cost import check_speed as check_speed_module
from studies.cost import cost as cost_module
from studies.cost import throughput as throughput_module
from studies.cost import transforms
from studies.cost.allocator import allocator
from studies.cost.check_speed import check_speed
from studies.cost.cost import cost, unlabeled
from studies.cost.data_path import data_path
from studies.cost.no_waiting import no_waiting
from studies.cost.safety_cost import safety_cost
from studies.cost.scaling import scaling

NUMBER = r"([\d.]+)"
Told = Callable[[str], list[float]]


@pytest.fixture(autouse=True)
def _all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests keeps its cores."""
    monkeypatch.setattr(check_speed_module.os, "sched_setaffinity", lambda process, cores: None, raising=False)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The numbers at each N of a line that a script has printed."""

    def numbers(line: str) -> list[float]:
        text = capsys.readouterr().out
        found = re.search(line.replace("N", NUMBER), text, re.MULTILINE)
        assert found, text
        return [float(number.replace(",", "")) for number in found.groups()]

    return numbers


@pytest.fixture
def phantom(tmp_path: Path) -> str:
    return str(make_phantom(tmp_path / "phantom", {"train": 4, "valid": 1, "test": 1}, size=32))


def test_user_and_system_time_of_a_step_are_told_beside_the_peak(told: Told) -> None:
    allocator(batch=2, size=16, steps=3)
    user, system, share, peak = told(r"^head: user N s, system N s \(N% of both\), peak N MiB$")
    assert user > 0 and share == pytest.approx(100 * system / (user + system), abs=1) and peak > 50


def test_the_check_and_bare_decoding_are_timed_on_the_same_images(told: Told) -> None:
    check_speed(images=40, size=32, runs=2)
    rate = r"+([\d,]+) images/s"
    numbers = told(rf"^40 images, 2 cores, 2 runs\nbare decoding {rate}.*\ndata check {rate}.*\n.*at N times")
    assert min(numbers) > 0


@pytest.mark.slow
def test_patches_are_checked_at_1500_a_second_or_half_as_fast_as_they_are_decoded(told: Told) -> None:
    check_speed(images=3000, runs=3)
    rate, ratio = told(r"data check +([\d,]+) images/s(?:.*\n)+.*at N times")
    assert rate >= 1500 or ratio >= 0.5


@pytest.mark.parametrize("kind", ["supervised", "head", "exact"])
def test_the_peak_of_memory_is_measured_in_a_process_of_its_own(kind: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "studies.cost.cost", "peak", kind]
    command += ["resnet18", "2", "16", "2", "3", "2"]
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc/self/status, which this system has not")
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout
    assert float(found.splitlines()[-1]) > 50


@pytest.mark.parametrize("dims", [2, 3])
def test_time_operations_and_memory_stand_beside_a_supervised_iteration(
    dims: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_module, "_peak_in_own_process", lambda kind, settings: 100.0 + len(kind))
    cost(batch=2, size=16, iterations=3, runs=1, channels=1, spatial_dims=dims, out=str(tmp_path / "out"))
    with open(tmp_path / "out" / "cost.csv", newline="") as file:
        rows = {row["trainer"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["supervised", "head", "exact", "forward", "fd"]
    assert {rows["supervised"][name] for name in ("time", "expected", "memory")} == {"1.0"}
    expected = {name: float(row["expected"]) for name, row in rows.items()}
    assert 1 < expected["head"] < expected["fd"] < expected["forward"]
    assert Image.open(tmp_path / "out" / "cost.png").size > (600, 300)
    shape = " x ".join(["1", *["16"] * dims])
    assert f"MONAI resnet18, {shape}, B = 2 (supervised: 4)" in capsys.readouterr().out


def test_unlabeled_images_are_timed_beside_labeled_ones(told: Told) -> None:
    unlabeled(batch=2, size=16, iterations=3, runs=2)
    median, least, most = told(r"^unlabeled: N times \(N to N in 2 runs\)$")
    assert 0 < least <= median <= most


def test_the_time_that_a_training_waits_is_told(phantom: str, told: Told) -> None:
    data_path(phantom, size=16, batch=4, workers=0, iterations=3)
    whole, waited, share = told(r"^training: 12 images in N s, of which it waited N s, N%(?s:.*)^loader alone: ")
    # Without workers it waits while it reads.
    assert 0 < share < 100 and waited <= whole


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: studies/cost/gpu.sh runs it")
def test_without_a_gpu_one_error_says_what_counts_the_same() -> None:
    with pytest.raises(ConfigurationError, match="expected a GPU.*check CONFIG --cost true"):
        no_waiting()


def test_the_time_of_checks_and_checkpoints_is_told(phantom: str, told: Told) -> None:
    safety_cost(phantom, n=8, size=16, epochs=2, batch=4)
    shares = told(r"^8 images of 16 x 16, 2 epochs, [\d.]+ s: checks N%, checkpoints N%$")
    assert all(0 < share < 100 for share in shares)


def test_one_and_two_processes_train_and_their_rates_are_told(told: Told) -> None:
    scaling(batch=2, size=16, iterations=4, runs=1)
    one, two, ratio = told(r"^1 process: N real images/s; 2: N; N times$")
    assert ratio == pytest.approx(two / one, rel=0.05)


def test_each_trainer_stands_beside_the_supervised_one(capsys: pytest.CaptureFixture[str]) -> None:
    throughput_module.throughput(device="cpu", size=16, batch=2, iterations=4, warm_up=1, rounds=2)
    text = capsys.readouterr().out
    assert "MONAI resnet18, 3 x 16 x 16, B = 2, 4 iterations, 2 rounds" in text
    for name in throughput_module.TRAINERS:
        assert text.count(f", {name}: ") == 2
        found = re.search(rf"^{name} +{NUMBER} +{NUMBER} +{NUMBER} +- +\(\d+-\d+\)$", text, re.MULTILINE)
        assert found, text
        rate, ratio, time = map(float, found.groups())
        assert rate > 0 and ratio * time == pytest.approx(1, rel=0.3)
        if name == "supervised":
            assert ratio == time == 1


@pytest.mark.parametrize(("spatial_dims", "channels", "teachers"), [(2, 3, 3), (3, 1, 2)])
def test_each_teacher_is_timed_beside_monai_s_two_transforms(
    spatial_dims: int, channels: int, teachers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    transforms.throughput(8, channels, spatial_dims, images=4, batch_size=2, workers=0, runs=2)
    head, _, unchanged, stock, *rows = capsys.readouterr().out.splitlines()
    shape = " x ".join(map(str, [channels, *[8] * spatial_dims]))
    assert head.startswith(f"4 images {shape}, batches of 2, 0 workers")
    assert unchanged.startswith("no transform") and stock.startswith(transforms.STOCK)
    assert "(single runs 1.00-1.00)" in stock and len(rows) == 2 * teachers
    # Beside a busy machine's transforms, none at all take 0.00 of their time.
    assert float(unchanged[36:46]) > 0
    assert all(float(row[36:46]) > 0 and float(row[46:54]) > 0 for row in rows)
