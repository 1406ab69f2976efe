# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers in an engine's output and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["numbers_of", "output_number", "unread_numbers_of", "unread_output_number"]


def output_number(output: Any, key: str) -> float:
    """Return a number of ``engine.state.output``, or NaN if it is missing.

    The output is a dictionary or, after decollating, a list of one dictionary per image, each with the same number. The
    key is a string such as ``"loss"``, or one of :class:`monai_gmcl.GMCLKeys`.
    """
    return float(unread_output_number(output, key))


def unread_output_number(output: Any, key: str) -> float | Tensor:
    """Return the same number; a tensor stays a tensor on its device."""
    first = output[0] if isinstance(output, list) else output
    number = _number(first.get(key))
    return float("nan") if number is None else number


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the entries of ``values`` that are single numbers, such as in ``engine.state.metrics``."""
    return {name: float(number) for name, number in unread_numbers_of(values).items()}


def unread_numbers_of(values: Mapping[str, Any]) -> dict[str, float | Tensor]:
    """Return the same entries; tensors stay tensors on their device."""
    numbers = {name: _number(value) for name, value in values.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _number(value: Any) -> float | Tensor | None:
    if isinstance(value, int | float):
        return float(value)
    # numpy numbers have item() and size, too
    if isinstance(value, Tensor):
        return value if value.numel() == 1 else None
    return float(value.item()) if getattr(value, "size", 0) == 1 else None
