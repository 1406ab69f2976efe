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
from typing import Any

from monai_gmcl.benchmark.json_lines import append_row


def test_a_row_is_a_line_of_output_and_of_the_file(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "rows.jsonl"
    for row in ({"way": "first"}, {"way": "second"}):
        append_row(row, str(file))
    assert file.read_text() == capsys.readouterr().out == '{"way": "first"}\n{"way": "second"}\n'
    assert [json.loads(line)["way"] for line in file.read_text().splitlines()] == ["first", "second"]


def test_without_a_file_a_row_is_only_printed(tmp_path: Path, capsys: Any) -> None:
    append_row({"auc": 0.5}, None)
    assert capsys.readouterr().out == '{"auc": 0.5}\n' and not list(tmp_path.iterdir())
