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
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes | memoryview, beside: Path | None = None) -> None:
    """Write a file so that, whatever happens, its place holds all of the old content or all of the new one.

    Args:
        path: of the file; its folder must exist.
        content: all of it.
        beside: where it is written first. Default: a hidden file of this process, in the same folder.

    Raises:
        OSError: it cannot be written; what was there still is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp") if beside is None else beside
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
