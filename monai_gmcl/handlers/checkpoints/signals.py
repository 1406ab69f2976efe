# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT end a run after the current step."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

__all__ = ["EndingSignals"]


class EndingSignals:
    """Records SIGTERM and SIGINT instead of ending at once, so that the current step can be finished.

    A second signal is handled by the previous handlers. Only Python's main thread can handle signals; in other threads,
    this class does nothing.

    Attributes:
        received: the received signal, or None.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._process = 0

    def watch(self) -> None:
        """Install the signal handlers."""
        self.received = None
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._process = os.getpid()
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def restore(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._before.items():
            # None: the handler was set by C code, and Python cannot restore it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def leave(self) -> None:
        """End the process as the signal would have done, after everything is saved.

        SIGINT raises KeyboardInterrupt. SIGTERM raises SystemExit with the status 143, as in a shell.
        """
        assert self.received is not None
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.received)

    def _note(self, number: int, frame: Any) -> None:
        self.restore()
        # A forked worker process inherits this handler. Ctrl-C reaches all processes, and the main process handles it.
        if os.getpid() == self._process:
            self.received = number
