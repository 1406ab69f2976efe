# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handlers that are called after all other handlers of an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

__all__ = ["call_last", "pass_on_exceptions", "put_last"]


def call_last(engine: Engine, event: Any, handler: Callable[..., None]) -> None:
    """Call a handler after all handlers that are attached to an event before the run starts."""
    engine.add_event_handler(Events.STARTED, lambda engine: put_last(engine, event, handler))


def put_last(engine: Engine, event: Any, handler: Callable[..., None]) -> None:
    """Attach a handler to an event as the last one, or move it to the end."""
    if engine.has_event_handler(handler, event):
        engine.remove_event_handler(handler, event)
    engine.add_event_handler(event, handler)


def pass_on_exceptions(engine: Engine) -> None:
    """Raise an exception of an engine's run after all handlers of ``EXCEPTION_RAISED`` have been called.

    ignite does not raise an exception for which such a handler exists. If a handler raised it, later handlers would not
    be called.
    """
    if not engine.has_event_handler(_raise, Events.EXCEPTION_RAISED):
        engine.add_event_handler(Events.EXCEPTION_RAISED, _raise)
        call_last(engine, Events.EXCEPTION_RAISED, _raise)


def _raise(engine: Engine, error: BaseException) -> None:
    raise error
