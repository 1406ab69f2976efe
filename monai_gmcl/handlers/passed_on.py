# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Exceptions that call handlers and still end the run."""

from __future__ import annotations

from ignite.engine import Engine, Events

__all__ = ["pass_on_exceptions"]


def pass_on_exceptions(engine: Engine) -> None:
    """Let exceptions end an engine's run after all handlers of ``EXCEPTION_RAISED`` have been called.

    ignite does not raise an exception that a handler of ``EXCEPTION_RAISED`` gets.
    """
    if not engine.has_event_handler(_raise, Events.EXCEPTION_RAISED):
        engine.add_event_handler(Events.EXCEPTION_RAISED, _raise)
        engine.add_event_handler(Events.STARTED, _raise_after_all_others)


def _raise_after_all_others(engine: Engine) -> None:
    # Raising ends the event: handlers further down the list would never hear of the exception.
    engine.remove_event_handler(_raise, Events.EXCEPTION_RAISED)
    engine.add_event_handler(Events.EXCEPTION_RAISED, _raise)


def _raise(engine: Engine, error: BaseException) -> None:
    raise error
