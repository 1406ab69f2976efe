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

import json
from pathlib import Path

import pytest

from monai_gmcl.benchmark.small_set import small_set


def test_every_way_is_run_on_a_folder_of_classes_and_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_set(str(folder), per_class=5, seeds=1, steps=4, channels=1, size=16, report=str(tmp_path / "runs.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [row["way"] for row in rows] == [
        "standard transforms",
        "standard transforms, twice the steps",
        "frozen random teacher",
        "GMCL",
    ]
    assert all(0 <= row["chosen"] <= 1 and 0 <= row["final"] <= 1 for row in rows)
    assert "chosen    final" in capsys.readouterr().out
