# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Descriptions of objects, arrays and files of a run as plain values that can be compared."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["array_digest", "described", "items_digest"]

SAMPLE = 2**16
"""Largest number of values that are read from an array."""
DEPTH = 6
MOST = 64
"""Largest number of list entries that are stored individually."""


def described(value: Any, depth: int = DEPTH, seen: set[int] | None = None) -> Any:
    """Return a comparable description of a value: numbers, strings, digests of arrays, attributes of objects.

    Nested objects are described down to ``depth``. Objects in ``seen``, by id, are not described again.
    """
    seen = set() if seen is None else seen
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return array_digest(value)
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
    """Return a digest instead of a long list."""
    if len(found) <= MOST:
        return found
    told = hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
    return f"{len(found)} values, SHA-256 {told[:16]}"


def items_digest(items: Sequence[Any]) -> str:
    """Return a SHA-256 of labels, numbers, file names and file sizes, which moving the folder does not change."""
    sizes = {text: size for text in set(_texts(items)) if (size := _file_size(text)) is not None}
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


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str | os.PathLike):
        yield os.fspath(value)
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _file_size(text: str) -> int | None:
    try:
        found = os.stat(text)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def array_digest(value: Any) -> str:
    """Return shape, type and SHA-256 of an array; for a large array, of evenly spaced numbers."""
    array: Any = value.detach().cpu() if isinstance(value, Tensor) else np.asarray(value)
    # numpy has no bfloat16
    content = np.asarray(array.float() if array.dtype == torch.bfloat16 else array).reshape(-1)
    content = content[:: max(1, -(-len(content) // SAMPLE))]
    told = hashlib.sha256(np.ascontiguousarray(content).tobytes()).hexdigest()[:16]
    return f"{list(value.shape)} {value.dtype} {told}"
