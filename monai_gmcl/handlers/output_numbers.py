# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers in an engine's output and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["numbers_of", "output_number"]


def output_number(output: Any, key: str) -> float:
    """Return a number of ``engine.state.output``, NaN where it holds none.

    The output is a dictionary, or after decollating a list of dictionaries, one for each image, that repeat the number;
    the key is such as ``"loss"`` or one of :class:`monai_gmcl.GMCLKeys`.
    """
    first = output[0] if isinstance(output, list) else output
    number = _number(first.get(key))
    return float("nan") if number is None else number


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what is a single number among ``values``, such as ``engine.state.metrics``."""
    numbers = {name: _number(value) for name, value in values.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    # numpy's numbers have item() and size as well
    size = value.numel() if isinstance(value, Tensor) else getattr(value, "size", 0)
    return float(value.item()) if size == 1 else None
