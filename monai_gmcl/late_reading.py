# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads values from the device some steps late, in one copy, so that the host does not wait in every step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import GMCLError

__all__ = ["LateReading", "Read", "at_once", "on_host"]

STEPS = 10
"""Number of steps between two readings of a device."""
Read = Callable[[Tensor, Callable[[Tensor], None]], None]
"""``(values, verdict)``: calls ``verdict`` with the values on the CPU, now or later."""


def at_once(values: Tensor, verdict: Callable[[Tensor], None]) -> None:
    """Call ``verdict`` with the values now."""
    verdict(values.detach().cpu())


class LateReading:
    """Small tensors that stay on the device until the host reads them in one copy.

    On the CPU, values are read immediately. On other devices, the host reads after the first step, after every tenth
    step, at the end of an epoch, and before the state of the trainer or of a network is saved. A *check* may raise an
    error at these times; the message names the iteration. *Observers* are called only at these steps and at the end of
    an epoch, not before a state is saved, so that saving does not change the training.

    Args:
        device: where the steps are computed.

    Attributes:
        every: number of steps between two readings; 1: values are read immediately.
        observers: the function that gets the values of each name, on the CPU.
        has_read: whether the device was read at the end of the last step.
    """

    def __init__(self, device: torch.device) -> None:
        self.every = 1 if device.type == "cpu" else STEPS
        self.observers: dict[str, Callable[[Tensor], None]] = {}
        self.has_read = False
        self._iteration = 0
        self._failure: GMCLError | None = None
        self._checks: list[tuple[int, Tensor, Callable[[Tensor], None]]] = []
        self._observed: list[tuple[str, Tensor]] = []

    @property
    def is_at_once(self) -> bool:
        """Whether values are read immediately."""
        return self.every == 1

    def check(self, values: Tensor, verdict: Callable[[Tensor], None]) -> None:
        """Call ``verdict``, which may raise an error, with the values when they are read."""
        if self.is_at_once:
            at_once(values, verdict)
        else:
            self._checks.append((self._iteration, values.detach(), verdict))

    def observe(self, name: str, values: Tensor) -> None:
        """Pass the values to their observer at the end of the next step in which the device is read."""
        if self.is_at_once:
            at_once(values, self.observers[name])
        else:
            self._observed.append((name, values.detach()))

    def begin_step(self, iteration: int) -> None:
        """Record the iteration of the values that follow."""
        self._iteration = iteration

    def end_step(self, ends_epoch: bool) -> None:
        """Read and call the observers if the device is read in this step; GMCLError where a check failed."""
        self.has_read = self._iteration == 1 or self._iteration % self.every == 0 or ends_epoch
        if self.has_read:
            self.read()
            observed, self._observed = self._observed, []
            for name, values in observed:
                self.observers[name](values)

    def read(self) -> None:
        """Read all values without calling the observers.

        GMCLError where a check failed; it is raised again at each reading until :meth:`forget`.
        """
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))
        checks, self._checks = self._checks, []
        names = [name for name, _ in self._observed]
        read = on_host([*(values for _, values, _ in checks), *(values for _, values in self._observed)])
        self._observed = list(zip(names, read[len(checks) :], strict=True))
        for (iteration, _, verdict), values in zip(checks, read, strict=False):
            try:
                verdict(values)
            except GMCLError as error:
                self._failure = type(error)(f"Iteration {iteration}: {error}")
                raise self._failure from None

    def read_before_state_of(self, network: nn.Module) -> None:
        """Read before the network's state is saved, so that no state after a failed check is saved."""
        if not isinstance(network, torch.jit.ScriptModule):
            network.register_state_dict_pre_hook(_ReadFirst(self))  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Delete unread values and the error of a failed check."""
        self._checks, self._observed, self._failure = [], [], None

    def state_dict(self) -> dict[str, Any]:
        """Return the values that were not yet passed to observers; GMCLError where a check failed."""
        self.read()
        return {"observed": [[name, values.clone()] for name, values in self._observed]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.forget()
        self._observed = [(name, values.cpu()) for name, values in state["observed"]]


def on_host(all_values: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors on the CPU; tensors on the device are copied together."""
    away = [values for values in all_values if values.device.type != "cpu"]
    if not away:
        return list(all_values)
    flat = torch.cat([values.flatten().to(away[0].device, non_blocking=True) for values in away]).cpu()
    parts = iter(torch.split(flat, [values.numel() for values in away]))
    return [
        values if values.device.type == "cpu" else next(parts).view(values.shape).to(values.dtype)
        for values in all_values
    ]


class _ReadFirst:
    """Reads the device before a network's state is saved; does nothing in a copy or a file of the network."""

    def __init__(self, late: LateReading | None = None) -> None:
        self._late = None if late is None else weakref.ref(late)

    def __call__(self, module: nn.Module, prefix: str, keep_vars: bool) -> None:
        late = None if self._late is None else self._late()
        if late is not None:
            late.read()

    def __reduce__(self) -> tuple[Any, ...]:
        return _ReadFirst, ()
