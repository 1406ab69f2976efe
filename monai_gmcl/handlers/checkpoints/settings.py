# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings, data, versions and learning-rate schedules of a run, compared with those of the run that is resumed."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite
import monai
import numpy as np
import torch
from ignite.engine import Engine
from monai.transforms.transform import Randomizable
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers.checkpoints.description import array_digest, described, items_digest
from monai_gmcl.handlers.checkpoints.handler_states import validators_of
from monai_gmcl.ranks import Ranks

__all__ = ["RunSettings", "check_length", "merged_plan"]

logger = logging.getLogger(__name__)

NAMED = 10
"""Largest number of changes that are named individually."""

TAKES_EFFECT = ("loss_function", "inferer", "curriculum", "hypergradient", "weighting", "teacher", "teacher_interval")
"""Attributes of the engine for which a resumed run uses the new value."""


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run, by dotted names.

    Attributes:
        fixed: settings that a resumed run cannot change, because the checkpoint's value would silently be used, or the
            position in the data would be wrong.
        free: settings that a resumed run can change, with a warning.
    """

    fixed: dict[str, Any]
    free: dict[str, Any]

    @classmethod
    def of(cls, engine: Engine, given: Mapping[str, Any]) -> RunSettings:
        """Read the settings from an engine before its first step; further settings are passed by name."""
        from monai_gmcl import __version__

        fixed: dict[str, Any] = {
            "seed": getattr(engine, "seed", None),
            "epoch_length": engine.state.epoch_length,
            "accumulation_steps": getattr(engine, "accumulation_steps", 1),
            "ranks": Ranks().size,
            "settings": dict(given),
        }
        free: dict[str, Any] = {
            "versions": {
                "monai_gmcl": __version__,
                "monai": monai.__version__,
                "torch": torch.__version__,
                "ignite": ignite.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "device": getattr(getattr(engine.state, "device", None), "type", None),
            "amp": getattr(engine, "amp", False),
        }
        for name in ("optimizer", "teacher_optimizer"):
            fixed[name] = _of_optimizer(getattr(engine, name, None))
        for name, loader in _loaders(engine):
            fixed[name], free[name] = _of_loader(loader)
        free |= {name: described(getattr(engine, name, None)) for name in TAKES_EFFECT}
        return cls(dict(_flat(fixed)), dict(_flat(free)))

    def check(self, before: Mapping[str, Mapping[str, Any]], path: Path) -> None:
        """Compare with the run that wrote a checkpoint: log changed settings, or CheckpointError for fixed settings."""
        refused, taken = self.changes(before)
        if refused:
            raise CheckpointError(
                f"{path} is of a run with other settings, which cannot be continued: {_told(refused)}. Use the same "
                "settings, or start a new run in another folder."
            )
        if taken:
            logger.warning("The run continues with changed settings: %s.", _told(taken))

    def changes(self, before: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
        """Return the differences from the settings of an earlier process: fixed settings, and free settings."""
        return tuple(  # type: ignore[return-value]
            [
                f"{name} was {_shown(old, name)}, is now {_shown(new, name)}"
                for name in dict.fromkeys([*old, *new])
                if old.get(name) != new.get(name)
            ]
            for old, new in ((before["fixed"], self.fixed), (before["free"], self.free))
        )


def _of_optimizer(optimizer: Any) -> Any:
    if optimizer is None:
        return None
    groups = [
        {key: described(item) for key, item in group.items() if key != "params"} for group in optimizer.param_groups
    ]
    return {"class": type(optimizer).__qualname__, **{str(i): group for i, group in enumerate(groups)}}


def _loaders(engine: Engine) -> Iterator[tuple[str, Any]]:
    yield "training data", getattr(engine, "data_loader", None)
    yield "unlabeled data", getattr(getattr(getattr(engine, "sources", None), "unlabeled", None), "loader", None)
    yield "meta data", getattr(getattr(getattr(engine, "look_ahead", None), "meta_batches", None), "loader", None)
    for place, validator in enumerate(validators_of(engine)):
        yield f"validation data{f' {place + 1}' if place else ''}", getattr(validator, "data_loader", None)


def _of_loader(loader: Any) -> tuple[Any, Any]:
    """Return the fixed and the free settings of a loader."""
    if loader is None:
        return None, None
    fixed: dict[str, Any] = {
        "batch_size": getattr(loader, "batch_size", None),
        "drop_last": getattr(loader, "drop_last", None),
        "sampler": type(getattr(loader, "sampler", None)).__qualname__,
        "transforms": {},
    }
    free: dict[str, Any] = {"num_workers": getattr(loader, "num_workers", None), "random transforms": {}}
    dataset = getattr(loader, "dataset", loader)
    while dataset is not None:
        for number, part in enumerate(_transforms(getattr(dataset, "transform", None))):
            where = free["random transforms"] if isinstance(part, Randomizable) else fixed["transforms"]
            where[str(number)] = described(part)
        if isinstance(getattr(dataset, "indices", None), Sequence | np.ndarray | Tensor):
            fixed["indices"] = array_digest(np.asarray(dataset.indices))
        inner = getattr(dataset, "dataset", None)
        if inner is None:
            fixed |= _of_items(dataset)
        dataset = inner
    return fixed, free


def _transforms(transform: Any) -> list[Any]:
    parts = getattr(transform, "transforms", None)
    if isinstance(parts, list | tuple):
        return [inner for part in parts for inner in _transforms(part)]
    return [] if transform is None else [transform]


def _of_items(dataset: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        found["items"] = len(dataset)
    except TypeError:
        return found
    known = [dataset] if isinstance(dataset, list | tuple) else []
    items = next((x for x in (*known, *(getattr(dataset, n, None) for n in ("data", "samples", "tensors"))) if x), None)
    if isinstance(items, list | tuple):
        found["SHA-256"] = items_digest(items)
    elif isinstance(items, Tensor | np.ndarray):
        found["SHA-256"] = array_digest(items)
    return found


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}.{index}")
    else:
        # A checkpoint contains only numbers and strings.
        yield name, value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _shown(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "not there"
    text = repr(values[name])
    return text if len(text) <= 60 else f"{text[:57]}..."


def _told(changes: list[str]) -> str:
    more = f"; and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
    return "; ".join(changes[:NAMED]) + more


def merged_plan(begun: Any, saved: Any, new: Any, name: str) -> Any:
    """Return the state with which a schedule continues: its saved progress, and its new plan.

    Three states are compared: at the start of the run, in the checkpoint, and as built now. CheckpointError if an
    attribute is part of both plan and progress, and differs.
    """
    if isinstance(saved, Mapping) and isinstance(begun, Mapping) and isinstance(new, Mapping):
        if set(begun) == set(new):
            return {
                key: merged_plan(begun[key], value, new[key], f"{name}.{key}") if key in new else value
                for key, value in saved.items()
            }
    elif all(isinstance(value, list | tuple) and len(value) == len(saved) for value in (saved, begun, new)):
        items = zip(begun, saved, new, strict=True)
        return [merged_plan(*item, f"{name}.{index}") for index, item in enumerate(items)]
    if begun == new:
        return saved
    if begun == saved:
        return new
    raise CheckpointError(
        f"{name} was {begun!r} at the beginning of the run, is {saved!r} in the checkpoint and {new!r} now. A schedule "
        "of another kind cannot continue it. Use the same schedule, or start a new run in another folder."
    )


def check_length(schedule: Any, name: str, done: int, wanted: int) -> None:
    """Raise CheckpointError if a schedule of fixed length, such as OneCycleLR, is too short for all iterations."""
    total = getattr(schedule, "total_steps", None)
    if not isinstance(schedule, LRScheduler) or not isinstance(total, int) or done < 1:
        return
    needed = -(-schedule.last_epoch * wanted // done)
    if needed > total:
        raise CheckpointError(
            f"{name} is planned for {total} steps, of which {schedule.last_epoch} are done; {wanted} iterations need "
            f"about {needed} steps. Build {type(schedule).__name__} with total_steps={needed} or more, or train for "
            "fewer epochs."
        )
