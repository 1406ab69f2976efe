# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers of single steps, which the host reads together when the trainer reads the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from monai_gmcl.late_reading import on_host

if TYPE_CHECKING:
    from monai_gmcl.engines.trainer import GMCLTrainer

__all__ = ["LateNumbers"]


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
