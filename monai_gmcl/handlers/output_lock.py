# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A lock that allows one run at a time in an output folder."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ignite.engine import Engine, Events

from monai_gmcl.atomic_file import make_folder
from monai_gmcl.exceptions import ConfigurationError, OutputError
from monai_gmcl.handlers.last_handlers import call_last, pass_on_exceptions
from monai_gmcl.ranks import Ranks

__all__ = ["FolderLock", "hold_output"]

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderLock:
    """Locks a folder for this process until the process ends. The folder is created if it does not exist.

    The operating system releases the lock when the process ends for any reason. Forked processes do not hold it. The
    lock file is removed when the lock is released.
    """

    FILE_NAME = ".lock"

    def __init__(self, folder: Path) -> None:
        self.path = folder / self.FILE_NAME
        self._file: int | None = None
        self._made = False
        self._process = 0

    def acquire(self) -> None:
        """Acquire the lock, unless this process holds it already.

        ConfigurationError if another process holds the lock, OutputError if the folder is not writable.
        """
        if self._file is not None and self._process == os.getpid():
            return
        self._made = not self.path.parent.is_dir()
        make_folder(self.path.parent)
        if fcntl is None:
            logger.warning(
                "This system cannot lock folders. Make sure that no other run writes to %s.", self.path.parent
            )
            return
        try:
            while not self._taken():
                pass
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written ({error.strerror or error}).") from error

    def release(self) -> None:
        """Release the lock."""
        if self._file is None or self._process != os.getpid():
            return
        with contextlib.suppress(OSError):
            # The file is removed while the lock is held. A process that waits for this file then creates a new one.
            self.path.unlink(missing_ok=True)
            if self._made:
                self.path.parent.rmdir()
        os.close(self._file)
        self._file = None

    def _taken(self) -> bool:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 200).decode(errors="replace").strip()
            os.close(file)
            if error.errno in UNSUPPORTED:
                logger.warning(
                    "%s cannot be locked (%s). Make sure that no other run writes to it.", self.path.parent, error
                )
                return True
            raise ConfigurationError(
                f"Another run is writing to {self.path.parent} ({holder or 'it has just started'}). Use another folder "
                "for this run, or wait until the other run has ended."
            ) from error
        if not _same(file, self.path):
            os.close(file)
            return False
        os.ftruncate(file, 0)
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {began}\n".encode())
        self._file, self._process = file, os.getpid()
        return True


_HELD: WeakKeyDictionary[Engine, dict[Path, FolderLock]] = WeakKeyDictionary()


def hold_output(engine: Engine, folder: str | os.PathLike[str]) -> None:
    """Lock a folder while an engine runs, on the first rank. Handlers with the same folder share the lock.

    ConfigurationError at the start of the run if another process holds the lock.
    """
    locks, place = _HELD.setdefault(engine, {}), Path(os.path.abspath(folder))
    if place in locks or Ranks().index > 0:
        return
    lock = locks[place] = FolderLock(place)

    def release(engine: Engine, *_: Any) -> None:
        lock.release()

    def terminate(engine: Engine) -> None:
        if engine.should_terminate == "skip_completed":
            lock.release()

    engine.add_event_handler(Events.STARTED, lock.acquire)
    call_last(engine, Events.COMPLETED, release)
    engine.add_event_handler(Events.TERMINATE, terminate)
    engine.add_event_handler(Events.EXCEPTION_RAISED, release)
    pass_on_exceptions(engine)


def _same(file: int, path: Path) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    opened = os.fstat(file)
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)
