# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import pytest

from studies.cost import check_speed as module
from studies.cost.check_speed import check_speed


@pytest.fixture(autouse=True)
def _all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests keeps its cores."""
    monkeypatch.setattr(module.os, "sched_setaffinity", lambda process, cores: None, raising=False)


def test_the_check_and_bare_decoding_are_timed_on_the_same_images(capsys: pytest.CaptureFixture[str]) -> None:
    check_speed(images=40, size=32, runs=2)
    first, *rates, last = capsys.readouterr().out.splitlines()
    assert first == "40 images, 2 cores, 2 runs"
    assert [re.match(r"(bare decoding|data check) +[\d,]+ images/s", line)[1] for line in rates] == [  # type: ignore[index]
        "bare decoding",
        "data check",
    ]
    assert float(re.search(r"at ([\d.]+) times", last)[1]) > 0  # type: ignore[index]


@pytest.mark.slow
def test_patches_are_checked_at_1500_a_second_or_half_as_fast_as_they_are_decoded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_speed(images=3000, runs=3)
    text = capsys.readouterr().out
    rate = float(re.search(r"data check +([\d,]+) images/s", text)[1].replace(",", ""))  # type: ignore[index]
    assert rate >= 1500 or float(re.search(r"at ([\d.]+) times", text)[1]) >= 0.5, text  # type: ignore[index]
