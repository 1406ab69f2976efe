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

from pathlib import Path
from typing import Any

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["check_paths"]


def check_paths(**paths: Any) -> None:
    """Raise where a path of a bundle's configuration is no text.

    The command line takes a folder named 2024 or 2024.10 for a number, and 2024.10 for 2024.1: what was meant is lost.

    Args:
        paths: by the name of the setting.

    Raises:
        ConfigurationError: naming the setting.
    """
    for name, path in paths.items():
        if not isinstance(path, str | Path):
            raise ConfigurationError(
                f"{name} must be a path, got {path!r}: the command line takes a name of digits for a number. "
                f"Write it with its folder: --{name} ./NAME."
            )
