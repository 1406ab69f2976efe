# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import pytest

from studies.cost.scaling import scaling


def test_one_and_two_processes_train_and_their_rates_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    scaling(batch=2, size=16, iterations=4, runs=1)
    told = capsys.readouterr().out
    found = re.fullmatch(r"1 process: ([\d.]+) real images/s; 2: ([\d.]+); ([\d.]+) times\n", told)
    assert found
    one, two, ratio = map(float, found.groups())
    assert ratio == pytest.approx(two / one, rel=0.05)
