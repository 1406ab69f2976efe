# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

__all__ = ["Precision"]


class Precision:
    """Mixed precision through ``torch.amp``: bfloat16 on the CPU, float16 with a loss scale on CUDA, by default.

    Args:
        enabled: the trainer's ``amp``.
        device: the trainer's.
        options: the trainer's ``amp_kwargs``, handed to ``torch.autocast``; ``dtype`` chooses another precision.
    """

    def __init__(self, enabled: bool, device: torch.device, options: dict[str, Any]) -> None:
        self.device_type = device.type
        self._enabled, self._options = enabled, options
        self._begin()

    @property
    def enabled(self) -> bool:
        """Whether the student trains with mixed precision; once changed, the loss scale begins anew."""
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        if enabled != self._enabled:
            self._enabled = enabled
            self._begin()

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``torch.autocast``; once changed, the loss scale begins anew."""
        return self._options

    @options.setter
    def options(self, options: dict[str, Any] | None) -> None:
        if (options or {}) != self._options:
            self._options = options or {}
            self._begin()

    def _begin(self) -> None:
        dtype = torch.float32
        if self._enabled:
            dtype = self._options.get("dtype", torch.get_autocast_dtype(self.device_type))
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=dtype == torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for a pass of the student."""
        return torch.autocast(self.device_type, **self.options) if self.enabled else nullcontext()

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Let the optimizer step unless scaled gradients overflowed; return whether it stepped."""
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return not (self.scaler.is_enabled() and self.scaler.get_scale() < before)
