# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

from monai_gmcl.exceptions import OutputError

__all__ = ["make_folder", "write_whole"]


def write_whole(path: Path, content: bytes | memoryview | str, beside: Path | None = None) -> None:
    r"""Write a file atomically: it has either the complete old content or the complete new content.

    Temporary files of killed processes are removed. Strings are written as UTF-8; bytes of file names that are not
    UTF-8 as ``\udcff``. The temporary file ``beside`` is by default a hidden file of this process, in the same folder.
    OutputError if the disk is full or cannot be written to; the old file is kept.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp") if beside is None else beside
    try:
        try:
            _sweep(path)
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(_told(path, len(content), error)) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents, if they do not exist; OutputError if they cannot be created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be created ({error.strerror or error}). Expected a writable folder."
        ) from error


def _sweep(path: Path) -> None:
    """Remove temporary files of processes that are known to have ended."""
    if os.name != "posix":
        # On other systems, there is no safe way to test whether a process is alive.
        return
    own = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.tmp")
    for other in os.listdir(path.parent):
        found = own.fullmatch(other)
        if found is not None and not _lives(int(found[1])):
            path.with_name(other).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _told(path: Path, needed: int, error: OSError) -> str:
    folder = path.parent
    if not folder.is_dir():
        return (
            f"{path} cannot be written: the folder {folder} does not exist. It must not be moved or removed while "
            "files are written to it."
        )
    full = "The disk is full: " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return (
        f"{full}{path} cannot be written ({error.strerror or error}): {needed:,} bytes needed, "
        f"{shutil.disk_usage(folder).free:,} bytes free. Earlier files are unchanged."
    )
