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

import numpy as np
import pytest
from PIL import Image

from monai_gmcl.commands.compare import compare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for part in ("train", "valid"):
        for level, name in ((80, "dark"), (150, "light")):
            place = tmp_path / "shades" / part / name
            place.mkdir(parents=True)
            for i in range(12):
                Image.fromarray(generator.normal(level, 40, (16, 16)).clip(0, 255).astype(np.uint8)).save(
                    place / f"{i}.png"
                )
    return tmp_path / "shades"


def test_a_grid_is_run_kept_and_gone_on_with(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = {"n": 8, "seeds": 1, "steps": 4, "channels": 1, "size": 16, "workers": 1}
    compare(str(folder), str(out), arms=("standard", "gmcl"), **arguments)  # type: ignore[arg-type]
    assert "a GMCL iteration costs 2." in capsys.readouterr().out
    rows = [json.loads(file.read_text()) for file in sorted((out / "runs").glob("*.json"))]
    assert [row["arm"] for row in rows] == ["gmcl", "standard"]
    assert len(list((out / "runs" / "strengths").glob("*.json"))) == 3
    assert (out / "report.html").is_file() and (out / "summary.md").is_file()
    assert (out / rows[0]["picture"]).is_file()
    before = {file: file.stat().st_mtime_ns for file in (out / "runs").rglob("*gmcl*.json")}
    compare(str(folder), str(out), arms=("gmcl", "none"), **arguments)  # type: ignore[arg-type]
    assert len(list((out / "runs").glob("*.json"))) == 3
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
