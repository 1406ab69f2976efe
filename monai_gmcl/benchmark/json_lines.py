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

__all__ = ["append_row"]


def append_row(row: dict[str, Any], file: str | None) -> None:
    """Print a row, and append it to a file of a JSON object a line, if one is named."""
    line = json.dumps(row)
    print(line, flush=True)
    if file:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")
