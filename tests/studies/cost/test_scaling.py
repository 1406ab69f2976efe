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

import pytest

from monai_gmcl.exceptions import ConfigurationError
from studies.cost.scaling import scaling


def test_one_and_two_processes_train_and_their_rates_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    scaling(batch=2, size=16, iterations=4, runs=1)
    told = capsys.readouterr().out
    found = re.fullmatch(r"1 process: ([\d.]+) real images/s; 2: ([\d.]+); ([\d.]+) times\n", told)
    assert found
    one, two, ratio = map(float, found.groups())
    assert ratio == pytest.approx(two / one, rel=0.05)


def test_too_few_ranks_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 2 ranks and 4 iterations, got 1 and 8"):
        scaling(ranks=1)
