# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Paths of a bundle's configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["check_paths", "common_folder"]


def check_paths(**paths: Any) -> None:
    """Raise a ConfigurationError with the name of the setting if a path in a bundle's configuration is not a string.

    The command line converts names such as 2024 or 2024.10 to numbers, and 2024.10 to 2024.1, so that the name is lost.
    """
    for name, path in paths.items():
        if not isinstance(path, str | Path):
            raise ConfigurationError(
                f"{name} must be a path, got {path!r}: the command line reads a name of digits as a number. "
                f"Write the path with its folder, --{name} ./NAME."
            )


def common_folder(files: Iterable[str | Path]) -> str:
    """Return the deepest common folder of the files."""
    return os.path.commonpath([Path(file).parent for file in files])
