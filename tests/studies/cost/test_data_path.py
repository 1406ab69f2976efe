# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monai_gmcl.data import make_phantom
from studies.cost.data_path import data_path


def test_the_time_that_a_training_waits_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_phantom(tmp_path / "phantom", {"train": 3, "valid": 1, "test": 1}, size=32)
    data_path(str(folder), size=16, batch=4, workers=0, iterations=3)
    told = capsys.readouterr().out
    found = re.search(r"training: 12 images in ([\d.]+) s, of which it waited ([\d.]+) s, ([\d.]+)%", told)
    assert found
    whole, waited, share = map(float, found.groups())
    # Without workers it waits while it reads.
    assert 0 < share < 100 and waited <= whole
    assert "loader alone: " in told
