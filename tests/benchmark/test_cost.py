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

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["supervised", "head", "exact"])
def test_the_peak_of_memory_is_measured_in_a_process_of_its_own(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "monai_gmcl.benchmark.cost", "peak", kind, "2", "16", "2", "3"]
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc/self/status, which this system has not")
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout
    assert float(found.splitlines()[-1]) > 50
