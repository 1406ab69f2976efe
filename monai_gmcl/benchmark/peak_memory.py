# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of a process."""

from __future__ import annotations

from pathlib import Path

__all__ = ["peak_resident_bytes"]


def peak_resident_bytes() -> int:
    """Return the most memory that this process has held so far (Linux)."""
    # Not ru_maxrss: a child starts with its parent's peak there, and the parent here holds models of its own.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
