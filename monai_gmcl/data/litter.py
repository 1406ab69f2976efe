# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that operating systems and network drives leave behind; they are no part of a data set."""

from __future__ import annotations

__all__ = ["is_litter"]

LITTER = {
    "thumbs.db",
    "thumbs.db:encryptable",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "autorun.inf",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "icon\r",
    "network trash folder",
    "temporary items",
    "lost+found",
    "@eadir",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    "__pycache__",
}
"""Names, in small letters, that operating systems and network drives leave in folders."""


def is_litter(name: str) -> bool:
    """Whether an operating system left a file or folder of this name: hidden ones, ``Thumbs.db``, ``__MACOSX``, ..."""
    return name.startswith((".", "~$")) or name.lower() in LITTER
