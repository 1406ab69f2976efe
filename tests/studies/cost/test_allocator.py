# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import pytest

from studies.cost.allocator import allocator


def test_user_and_system_time_of_a_step_are_told_beside_the_peak(capsys: pytest.CaptureFixture[str]) -> None:
    allocator(batch=2, size=16, steps=3)
    line = r"head: user ([\d.]+) s, system ([\d.]+) s \(([\d.]+)% of both\), peak (\d+) MiB\n"
    told = re.fullmatch(line, capsys.readouterr().out)
    assert told is not None
    user, system, share, peak = map(float, told.groups())
    assert user > 0 and share == pytest.approx(100 * system / (user + system), abs=1) and peak > 50
