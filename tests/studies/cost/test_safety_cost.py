# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
