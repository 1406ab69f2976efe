# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""States of an engine's handlers and metrics, for checkpoints."""

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

from monai_gmcl.engines.student_pass import unwrapped
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers.checkpoints.plain_state import plain
from monai_gmcl.ranks import Ranks

__all__ = ["HandlerStates", "check_parts", "handlers_of", "parts_of", "validators_of"]

logger = logging.getLogger(__name__)

OF_ENGINE = {
    "model": "network",
    "optimizer": "optimizer",
    "teacher": "teacher",
    "teacher_optimizer": "teacher_optimizer",
    "scaler": "scaler",
}
"""Keys of a checkpoint, and the attributes of the engine that they hold, where it has them."""


def check_parts(save_dict: Mapping[str, Any]) -> None:
    """Raise a ConfigurationError if an object cannot be saved together with the parts of the engine."""
    for key, part in save_dict.items():
        if key in (*OF_ENGINE, "trainer", "random"):
            raise ConfigurationError(
                f"save_dict must not have the key {key!r}, which the checkpoint uses for the engine. Use another key."
            )
        if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            raise ConfigurationError(
                f"save_dict[{key!r}] is a {type(part).__name__}; expected an object with state_dict and "
                "load_state_dict."
            )


def parts_of(engine: Engine, save_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the saved objects by key, with networks without wrappers."""
    found = {key: getattr(engine, attribute, None) for key, attribute in OF_ENGINE.items()}
    parts = {**{key: part for key, part in found.items() if part is not None}, **save_dict, "trainer": engine}
    return {key: unwrapped(part) if isinstance(part, nn.Module) else part for key, part in parts.items()}


def handlers_of(engine: Engine) -> list[Any]:
    """Return the objects that are attached to an engine, in the order of attachment."""
    found: dict[int, Any] = {}
    for attached in engine._event_handlers.values():
        for function, *_ in attached:
            # An event with a filter, such as EPOCH_COMPLETED(every=2), wraps the handler.
            parent = getattr(function, "_parent", None)
            function = function if parent is None else parent()
            owner = getattr(function, "__self__", function)
            found.setdefault(id(owner), owner)
    return list(found.values())


def validators_of(engine: Engine) -> list[Engine]:
    """Return the validation engines that an engine's handlers run, such as MONAI's ``ValidationHandler``."""
    found = [getattr(handler, "validator", None) for handler in handlers_of(engine)]
    return [validator for validator in found if isinstance(validator, Engine)]


class HandlerStates:
    """Saves and restores the states of an engine's handlers and metrics, by class name.

    Included are handlers with ``state_dict`` and ``load_state_dict``, handlers of the validation, and metrics of ignite
    and MONAI, which would otherwise cover only the iterations since the resume. Not included are metrics with several
    ranks, because they differ between ranks, metrics of the validation, which start again in each validation, and
    objects in ``known``, which are saved separately.
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
        """Return plain states; states that are not plain are left out, with one warning."""
        found: dict[str, Any] = {}
        for name, part in self.parts.items():
            try:
                found[name] = plain(_state(part), name)
            except Exception as error:  # an error in a user's handler must not stop the run
                if name not in self._told:
                    logger.warning("The state of %s is not saved in checkpoints: %s", name, error)
                self._told.add(name)
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state; KeyError, ValueError or TypeError if a state does not fit its handler."""
        for name in dict.fromkeys([*self.parts, *state]):
            if name not in state:
                logger.warning("%s was not in the checkpoint. Its records begin with this epoch.", name)
            elif name not in self.parts:
                logger.warning(
                    "The checkpoint has a state of %s, which is not attached now. The state is not used.", name
                )
            else:
                _load(self.parts[name], state[name])


def _has_state(handler: Any) -> bool:
    has = not isinstance(handler, type) and all(
        callable(getattr(handler, name, None)) for name in ("state_dict", "load_state_dict")
    )
    return has and not isinstance(handler, nn.Module | torch.optim.Optimizer | Engine)


def _buffered(part: Any) -> Cumulative | None:
    """Return the MONAI metric inside a MONAI handler, because the ``state_dict`` of the handler is empty."""
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
