# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT end a run at the next step rather than in the middle of one."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any


class EndingSignals:
    """Notes SIGTERM and SIGINT instead of ending at once, so that the step that is being taken can be finished.

    A second signal finds the handlers that were there before. Only Python's main thread can take signals; in others
    nothing is changed.

    Attributes:
        received: the signal that came, None if there was none.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._process = 0

    def watch(self) -> None:
        """Take the signals over."""
        self.received = None
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._process = os.getpid()
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def restore(self) -> None:
        """Put the handlers back that were there before."""
        for number, handler in self._before.items():
            # None: it was set by C, which Python cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def leave(self) -> None:
        """End as the signal would have, now that all is saved.

        By KeyboardInterrupt for SIGINT, SystemExit for SIGTERM, with the status 143 that a shell gives it.
        """
        assert self.received is not None
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.received)

    def _note(self, number: int, frame: Any) -> None:
        self.restore()
        # A worker process that was forked inherits this handler: Ctrl-C reaches all, and the run itself sees to them.
        if os.getpid() == self._process:
            self.received = number
