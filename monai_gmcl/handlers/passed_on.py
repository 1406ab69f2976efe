# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from ignite.engine import Engine, Events

__all__ = ["pass_on_exceptions"]


def pass_on_exceptions(engine: Engine) -> None:
    """Let exceptions end an engine's run although a handler listens to them, after all that listen have heard.

    Once anything listens to ``EXCEPTION_RAISED``, ignite no longer raises them.
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
