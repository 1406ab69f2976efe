# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What an engine's handlers and metrics have gathered: part of a run that is stopped and resumed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.metrics.metric import Cumulative
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers.checkpoint_state import plain
from monai_gmcl.ranks import Ranks

__all__ = ["HandlerStates", "check_length", "handlers_of", "merged_plan", "validators_of"]

logger = logging.getLogger(__name__)


def handlers_of(engine: Engine) -> list[Any]:
    """Return the objects that follow an engine, in the order in which they were attached."""
    found: dict[int, Any] = {}
    for attached in engine._event_handlers.values():
        for function, *_ in attached:
            # An event with a filter, as EPOCH_COMPLETED(every=2), holds the handler in a wrapper.
            parent = getattr(function, "_parent", None)
            function = function if parent is None else parent()
            owner = getattr(function, "__self__", function)
            found.setdefault(id(owner), owner)
    return list(found.values())


def validators_of(engine: Engine) -> list[Engine]:
    """Return the engines of the validation that an engine's handlers run, as MONAI's ``ValidationHandler`` does."""
    found = [getattr(handler, "validator", None) for handler in handlers_of(engine)]
    return [validator for validator in found if isinstance(validator, Engine)]


class HandlerStates:
    """What handlers and metrics of an engine have gathered, saved and put back by the handlers' class names.

    A handler takes part when it has ``state_dict`` and ``load_state_dict``; so do metrics of ignite and of MONAI, whose
    numbers would otherwise be those of the iterations since the run was resumed. Metrics of several ranks are left out:
    each rank's are its own. Handlers of the validation take part, too; its metrics begin anew each time.

    Args:
        engine: with all handlers attached.
        known: objects that are saved by themselves already.
    """

    def __init__(self, engine: Engine, known: Mapping[str, Any]) -> None:
        taken = {id(part) for part in (*known.values(), engine)}
        counts: Counter[str] = Counter()
        self.parts: dict[str, Any] = {}
        own = [handler for handler in handlers_of(engine) if not isinstance(handler, Metric) or Ranks().alone]
        others = [h for validator in validators_of(engine) for h in handlers_of(validator) if not isinstance(h, Metric)]
        for handler in [*own, *others]:
            if id(handler) in taken or not _has_state(handler):
                continue
            taken.add(id(handler))
            name = type(handler).__name__
            counts[name] += 1
            self.parts[name if counts[name] == 1 else f"{name} {counts[name]}"] = handler
        self._told: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """Return plain states; what is not plain is named in a warning once, and left out."""
        found: dict[str, Any] = {}
        for name, part in self.parts.items():
            try:
                found[name] = plain(_state(part), name)
            except Exception as error:  # what a user's handler makes of itself must not end the run
                if name not in self._told:
                    logger.warning("What %s has gathered is not part of the checkpoints: %s", name, error)
                self._told.add(name)
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what was saved.

        Raises:
            KeyError, ValueError, TypeError: a state that does not fit its handler.
        """
        for name in dict.fromkeys([*self.parts, *state]):
            if name not in state:
                logger.warning("%s is new in this run: what it gathers begins with this epoch.", name)
            elif name not in self.parts:
                logger.warning(
                    "%s was part of the run before and is no longer; what it had gathered is not used.", name
                )
            else:
                _load(self.parts[name], state[name])


def _has_state(handler: Any) -> bool:
    has = not isinstance(handler, type) and all(
        callable(getattr(handler, name, None)) for name in ("state_dict", "load_state_dict")
    )
    return has and not isinstance(handler, nn.Module | torch.optim.Optimizer | Engine)


def _buffered(part: Any) -> Cumulative | None:
    """The metric of MONAI inside a handler of MONAI, whose own ``state_dict`` is empty."""
    inner = getattr(part, "metric_fn", None)
    return inner if isinstance(part, Metric) and isinstance(inner, Cumulative) else None


def _state(part: Any) -> Any:
    inner = _buffered(part)
    if inner is None:
        return part.state_dict()
    found: Any = inner.get_buffer()  # type: ignore[no-untyped-call]
    return {"buffers": [] if found is None else found if isinstance(found, list) else [found]}


def _load(part: Any, state: Any) -> None:
    inner = _buffered(part)
    if inner is None:
        part.load_state_dict(state)
        return
    inner.reset()  # type: ignore[no-untyped-call]
    if state["buffers"]:
        inner.extend(*state["buffers"])


def merged_plan(begun: Any, saved: Any, new: Any, name: str) -> Any:
    """Return the state with which a schedule goes on: its progress as saved, its plan as it is now.

    Args:
        begun: the state with which the run's first process began.
        saved: that of the checkpoint.
        new: that of the schedule as it is built now.
        name: how error messages call it.

    Raises:
        CheckpointError: something is both plan and progress, and differs.
    """
    if isinstance(saved, Mapping) and isinstance(begun, Mapping) and isinstance(new, Mapping):
        if set(begun) == set(new):
            return {
                key: merged_plan(begun[key], value, new[key], f"{name}.{key}") if key in new else value
                for key, value in saved.items()
            }
    elif isinstance(saved, list | tuple) and _same_length(begun, saved, new):
        items = zip(begun, saved, new, strict=True)
        return [merged_plan(*item, f"{name}.{index}") for index, item in enumerate(items)]
    if begun == new:
        return saved
    if begun == saved:
        return new
    raise CheckpointError(
        f"{name} was {begun!r} at the beginning of the run, is {saved!r} in the checkpoint and {new!r} now: a schedule "
        "of another kind cannot go on where this one was. Give it as it was, or begin a new run in another folder."
    )


def _same_length(*values: Any) -> bool:
    return all(isinstance(value, list | tuple) and len(value) == len(values[0]) for value in values)


def check_length(schedule: Any, name: str, done: int, wanted: int) -> None:
    """Raise where a schedule of a fixed length, such as OneCycleLR, is too short for the steps to come.

    Args:
        schedule: with its state.
        name: how the error message calls it.
        done: iterations that the run has taken.
        wanted: iterations at its end.

    Raises:
        CheckpointError: with the lengths.
    """
    total = getattr(schedule, "total_steps", None)
    if not isinstance(schedule, LRScheduler) or not isinstance(total, int) or done < 1:
        return
    needed = -(-schedule.last_epoch * wanted // done)
    if needed > total:
        raise CheckpointError(
            f"{name} is planned for {total} steps, of which {schedule.last_epoch} are taken; {wanted} iterations need "
            f"about {needed}. Build {type(schedule).__name__} with total_steps={needed} or more, or train for fewer "
            "epochs."
        )
