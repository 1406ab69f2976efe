# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run is: its settings, data and library versions, as plain values that two runs can be compared by."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ignite
import monai
import numpy as np
import torch
from ignite.engine import Engine
from monai.transforms.transform import Randomizable
from torch import Tensor, nn

from monai_gmcl.handlers.run_state import validators_of
from monai_gmcl.ranks import Ranks

__all__ = ["RunSettings", "described"]

SAMPLE = 2**16
"""Numbers of an array that are read at most."""
DEPTH = 6
MOST = 64
"""Values of a list that are kept one by one."""
TAKES_EFFECT = ("loss_function", "inferer", "curriculum", "hypergradient", "weighting", "teacher", "teacher_interval")
"""Attributes of the engine of which a resumed run takes the new value."""


@dataclass(frozen=True)
class RunSettings:
    """What a run is, by dotted names.

    Attributes:
        fixed: what a resumed run cannot change: either the checkpoint's value would be taken in silence, or the place
            in the data would mean nothing.
        free: what it can change; worth a warning.
    """

    fixed: dict[str, Any]
    free: dict[str, Any]

    @classmethod
    def of(cls, engine: Engine, given: Mapping[str, Any]) -> RunSettings:
        """Read them off an engine before it takes its first step.

        Args:
            engine: a trainer.
            given: further settings, by name.
        """
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

    def changes(self, before: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
        """Tell what differs from those of an earlier process: what cannot be changed, and what can."""
        return tuple(  # type: ignore[return-value]
            [
                f"{name} was {_shown(old, name)}, is now {_shown(new, name)}"
                for name in dict.fromkeys([*old, *new])
                if old.get(name) != new.get(name)
            ]
            for old, new in ((before["fixed"], self.fixed), (before["free"], self.free))
        )


def described(value: Any, depth: int = DEPTH, seen: set[int] | None = None) -> Any:
    """Return what can be compared of a value: numbers and texts, digests of arrays, names and attributes of objects.

    Args:
        value: anything.
        depth: how many objects within objects are looked into.
        seen: by their ids, those that are not described again.
    """
    seen = set() if seen is None else seen
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return _digest(value)
    if isinstance(value, functools.partial):
        return described({"of": value.func, "args": value.args, "keywords": value.keywords}, depth, seen)
    if isinstance(value, type) or (isinstance(value, Callable) and hasattr(value, "__qualname__")):  # type: ignore[arg-type]
        return getattr(value, "__qualname__", "")
    name = type(value).__qualname__
    if depth == 0 or id(value) in seen:
        return name
    seen.add(id(value))
    if isinstance(value, Mapping):
        return _short({str(key): described(item, depth - 1, seen) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return _short([described(item, depth - 1, seen) for item in value])
    if not hasattr(value, "__dict__"):
        text = str(value)
        return name if " at 0x" in text else text
    own = {key: item for key, item in getattr(value, "__dict__", {}).items() if not key.startswith("_")}
    if isinstance(value, nn.Module):
        own.pop("training", None)
        own |= {key: buffer for key, buffer in value.named_buffers() if "running" not in key}
    return {"class": name, **{key: described(item, depth - 1, seen) for key, item in own.items()}} if own else name


def _short(found: Any) -> Any:
    """A digest in place of a long list."""
    if len(found) <= MOST:
        return found
    told = hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
    return f"{len(found)} values, SHA-256 {told[:16]}"


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
    """What cannot be changed of a loader, and what can."""
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
            fixed["indices"] = _digest(np.asarray(dataset.indices))
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
        found["SHA-256"] = _items_digest(items)
    elif isinstance(items, Tensor | np.ndarray):
        found["SHA-256"] = _digest(items)
    return found


def _items_digest(items: Sequence[Any]) -> str:
    """SHA-256 of labels, numbers, names and sizes of files; a folder that is moved as a whole is the same data."""
    texts: set[str] = set()
    _collect_texts(items, texts)
    sizes = {text: size for text in texts if (size := _file_size(text)) is not None}
    root = os.path.commonpath([os.path.dirname(os.path.abspath(text)) for text in sizes]) if sizes else ""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, str | os.PathLike) and os.fspath(value) in sizes:
            return [os.path.relpath(os.path.abspath(value), root), sizes[os.fspath(value)]]
        return described(value, 2)

    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(plain(item), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _collect_texts(value: Any, found: set[str]) -> None:
    if isinstance(value, str | os.PathLike):
        found.add(os.fspath(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            _collect_texts(item, found)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect_texts(item, found)


def _file_size(text: str) -> int | None:
    try:
        found = os.stat(text)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _digest(value: Any) -> str:
    """Shape, type and SHA-256 of an array, of evenly spaced numbers of a large one."""
    array = value.detach().cpu().reshape(-1) if isinstance(value, Tensor) else np.asarray(value).reshape(-1)
    array = array[:: max(1, -(-len(array) // SAMPLE))]
    content = (
        array.float().numpy() if isinstance(array, Tensor) and array.dtype == torch.bfloat16 else np.asarray(array)
    )
    told = hashlib.sha256(np.ascontiguousarray(content).tobytes()).hexdigest()[:16]
    return f"{list(value.shape)} {value.dtype} {told}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}.{index}")
    else:
        # A checkpoint holds numbers and texts only.
        yield name, value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _shown(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "not there"
    text = repr(values[name])
    return text if len(text) <= 60 else f"{text[:57]}..."
