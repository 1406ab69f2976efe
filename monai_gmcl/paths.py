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
    """Raise ConfigurationError, which names the setting, where a path of a bundle's configuration is no text.

    The command line takes a folder named 2024 or 2024.10 for a number, and 2024.10 for 2024.1: what was meant is lost.
    """
    for name, path in paths.items():
        if not isinstance(path, str | Path):
            raise ConfigurationError(
                f"{name} must be a path, got {path!r}: the command line reads a name of digits as a number. "
                f"Write the path with its folder, --{name} ./NAME."
            )


def common_folder(files: Iterable[str | Path]) -> str:
    """Return the deepest folder that holds all of the files."""
    return os.path.commonpath([Path(file).parent for file in files])
