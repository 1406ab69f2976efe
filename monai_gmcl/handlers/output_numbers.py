# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers in an engine's output and metrics, and those of single steps, which the host reads together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.late_reading import on_host

__all__ = ["LateNumbers", "numbers_of", "output_number", "unread_numbers_of", "unread_output_number"]


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


class LateNumbers:
    """Keeps the numbers of each step on their device until the host reads them in one copy."""

    def __init__(self) -> None:
        self._steps: list[dict[str, float | Tensor]] = []

    def add(self, numbers: Mapping[str, float | Tensor]) -> None:
        """Keep the numbers of a step; tensors have one element."""
        self._steps.append({k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in numbers.items()})

    def if_due(self, engine: GMCLTrainer) -> list[dict[str, float]]:
        """Read the numbers if the engine has read the device in this step; otherwise return nothing."""
        return self.read() if engine.late_reading.has_read else []

    def read(self) -> list[dict[str, float]]:
        """Return the numbers of all steps since the last reading."""
        steps, self._steps = self._steps, []
        away = iter(on_host([value for step in steps for value in step.values() if isinstance(value, Tensor)]))
        return [{k: float(next(away) if isinstance(v, Tensor) else v) for k, v in step.items()} for step in steps]
