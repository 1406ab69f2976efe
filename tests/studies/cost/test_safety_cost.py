# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monai_gmcl.data import make_phantom
from studies.cost.safety_cost import safety_cost


def test_the_time_of_checks_and_checkpoints_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_phantom(tmp_path / "phantom", {"train": 4, "valid": 1, "test": 1}, size=32)
    safety_cost(str(folder), n=8, size=16, epochs=2, batch=4)
    told = capsys.readouterr().out
    found = re.search(r"^8 images of 16 x 16, 2 epochs, [\d.]+ s: checks ([\d.]+)%, checkpoints ([\d.]+)%$", told)
    assert found
    assert all(0 < float(share) < 100 for share in found.groups())
