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
    r"""Write a file so that, whatever happens, its place holds all of the old content or all of the new one.

    It is written ``beside`` its place first, by default in a hidden file of this process; what killed processes left
    there goes. Texts are UTF-8; what is none (names of files may hold any bytes) is written as ``\udcff``. OutputError,
    with path, bytes needed and bytes free, where the disk is full or cannot be written to; what was there still is.
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
    """Make a folder, and those that it is in, if there is none; OutputError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {path} cannot be created ({error.strerror or error}). Expected a writable folder."
        ) from error


def _sweep(path: Path) -> None:
    """Remove what killed processes have left of a file, as far as they are known to be dead."""
    if os.name != "posix":
        # Elsewhere a process cannot be asked whether it lives without harm.
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
