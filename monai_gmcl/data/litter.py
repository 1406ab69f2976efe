# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders of operating systems and network drives, which do not belong to a data set."""

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
"""Names of files and folders of operating systems and network drives, in lower case."""


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name belongs to an operating system: hidden files, ``Thumbs.db`` and others."""
    return name.startswith((".", "~$")) or name.lower() in LITTER
