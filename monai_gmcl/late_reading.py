# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the host reads from the device some steps late, in one copy, so that it need not wait in each of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import GMCLError

__all__ = ["LateReading", "Read", "at_once", "on_host"]

STEPS = 10
"""After how many steps a device is read."""
Read = Callable[[Tensor, Callable[[Tensor], None]], None]
"""``(values, verdict)``: lets ``verdict`` see the values on the CPU, now or later."""


def at_once(values: Tensor, verdict: Callable[[Tensor], None]) -> None:
    """Let ``verdict`` see the values now."""
    verdict(values.detach().cpu())


class LateReading:
    """A log of small tensors, kept on the device and read by the host in one copy.

    On the CPU all is read at once. Elsewhere the host reads after the first step, after every tenth, at the end of an
    epoch, and before the state of the trainer or of a network is taken. What is *checked* may raise then, and names its
    iteration. What is *observed* acts at those steps and at the end of an epoch alone, so that a run trains the same
    whether it is saved or not.

    Args:
        device: where the steps are computed.

    Attributes:
        every: number of steps between two readings; 1: all is read at once.
        observers: what each name's observations are given to, on the CPU.
        has_read: whether the last step that ended was one in which the device is read.
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
        """Whether nothing is late."""
        return self.every == 1

    def check(self, values: Tensor, verdict: Callable[[Tensor], None]) -> None:
        """Let ``verdict`` see the values, and raise, when they are read."""
        if self.is_at_once:
            at_once(values, verdict)
        else:
            self._checks.append((self._iteration, values.detach(), verdict))

    def observe(self, name: str, values: Tensor) -> None:
        """Give the values to their observer at the end of a step in which the device is read."""
        if self.is_at_once:
            at_once(values, self.observers[name])
        else:
            self._observed.append((name, values.detach()))

    def begin_step(self, iteration: int) -> None:
        """Note to which iteration belongs what comes."""
        self._iteration = iteration

    def end_step(self, ends_epoch: bool) -> None:
        """Read, and let the observers act, if it is time; GMCLError where a check failed."""
        self.has_read = self._iteration == 1 or self._iteration % self.every == 0 or ends_epoch
        if self.has_read:
            self.read()
            observed, self._observed = self._observed, []
            for name, values in observed:
                self.observers[name](values)

    def read(self) -> None:
        """Read all that the device has kept; observers do not act yet.

        GMCLError where a check failed, again at each reading, until :meth:`forget`.
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
        """Read whenever the network's state is taken: what failed a check must not reach a disk."""
        if not isinstance(network, torch.jit.ScriptModule):
            network.register_state_dict_pre_hook(_ReadFirst(self))  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Forget what was not read, and a check that failed."""
        self._checks, self._observed, self._failure = [], [], None

    def state_dict(self) -> dict[str, Any]:
        """Return what is observed but has not acted yet; GMCLError where a check failed."""
        self.read()
        return {"observed": [[name, values.clone()] for name, values in self._observed]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.forget()
        self._observed = [(name, values.cpu()) for name, values in state["observed"]]


def on_host(all_values: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors on the CPU, by one copy of all that are not there."""
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
    """Reads before a network's state is taken; a copy of the network, or a file with all of it, has none to read."""

    def __init__(self, late: LateReading | None = None) -> None:
        self._late = None if late is None else weakref.ref(late)

    def __call__(self, module: nn.Module, prefix: str, keep_vars: bool) -> None:
        late = None if self._late is None else self._late()
        if late is not None:
            late.read()

    def __reduce__(self) -> tuple[Any, ...]:
        return _ReadFirst, ()
