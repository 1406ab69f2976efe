# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Counts of random numbers, copies and waiting of the host, on a simulated device."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["DEVICE", "HostTraffic"]

DEVICE = torch.device("meta")
"""Name of the simulated device. Its tensors have values, which are in the memory of the CPU."""
PACKAGE, TORCH = Path(__file__).parent.parent, Path(torch.__file__).parent
DRAWS = (
    "rand randn randint randperm normal uniform bernoulli multinomial exponential cauchy log_normal geometric random"
)
RANDOM = {*DRAWS.split(), *(f"{name}_like" for name in DRAWS.split()), "native_dropout", "poisson", "binomial"}
WAITS = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
}
"""Operations for which the host must read the result or its size."""


@dataclass
class HostTraffic:
    """Counts the random numbers, copies and waits of the host while code runs on a simulated device, on any machine.

    Within :meth:`watch`, ``torch.device("meta")`` is a device that computes: its tensors have values. Copies to and
    from this device, and operations for which the host would wait, are counted. Tensors on the CPU belong to the host.

    Attributes:
        numbers: random numbers that the host drew, by line of the package's code.
        bytes_to_device: bytes copied to the device, by line.
        bytes_to_host: bytes copied from the device, by line.
        waits: how often the host waited for the device, by line: values that are read from it, shapes that depend on
            values (``nonzero``, boolean indices), copies in either direction without ``non_blocking``.
        waits_of_others: the same in code that is not part of the trainer: ``prepare_batch``, a ``label_proposal``, and
            event handlers, including MONAI's decollation.
    """

    numbers: Counter[str] = field(default_factory=Counter)
    bytes_to_device: Counter[str] = field(default_factory=Counter)
    bytes_to_host: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    waits_of_others: Counter[str] = field(default_factory=Counter)

    def watch(self) -> Watch:
        """Return a context in which all is counted."""
        return Watch(self)

    def clear(self) -> None:
        """Count from 0 again."""
        for counter in vars(self).values():
            counter.clear()

    def see(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Count one operation; ``args`` and ``result`` have their tensors on the device wrapped."""
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        on_device = any(isinstance(one, _OnDevice) for one in tensors)
        name, made = func.overloadpacket.__name__, tree_leaves(result)
        if name.rstrip("_") in RANDOM and not any(isinstance(one, _OnDevice) for one in made):
            self.numbers[_line()] += made[0].numel()
        if name in ("_to_copy", "copy_"):
            source, target = (args[1], args[0]) if name == "copy_" else (args[0], result)
            blocks = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            self._see_copy(source, target, blocks)
        elif on_device and (name in WAITS or (name.startswith("index") and _is_boolean(args))):
            self._see_wait()

    def _see_wait(self) -> None:
        other = _other()
        if other:
            self.waits_of_others[other] += 1
        else:
            self.waits[_line()] += 1

    def _see_copy(self, source: Any, target: Any, blocks: bool) -> None:
        size = source.numel() * source.element_size()
        if isinstance(target, _OnDevice) and not isinstance(source, _OnDevice):
            self.bytes_to_device[_line()] += size
        elif isinstance(source, _OnDevice) and not isinstance(target, _OnDevice):
            self.bytes_to_host[_line()] += size
        else:
            return
        if blocks:
            self._see_wait()


class Watch:
    """A context in which :data:`DEVICE` computes, also fused optimizers, and operations are counted."""

    def __init__(self, traffic: HostTraffic) -> None:
        optimizers, name = sys.modules[torch.optim.Optimizer.__module__], "_get_fused_kernels_supported_devices"
        devices = [*getattr(optimizers, name)(), DEVICE.type]
        fused = patch.object(optimizers, name, lambda: [*devices])
        self._modes: tuple[Any, ...] = (_Dispatch(traffic), _Functions(), fused)

    def __enter__(self) -> None:
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _OnDevice(Tensor):
    """A tensor that says that it is on the device; its numbers are in ``held``, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _OnDevice:
        made: _OnDevice = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
        )
        made.held = held
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"_OnDevice({self.held!r})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _computed(func, args, kwargs or {})


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, traffic: HostTraffic) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.traffic = traffic

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = _computed(func, args, kwargs or {})
        self.traffic.see(func, args, kwargs or {}, result)
        return result


class _Functions(TorchFunctionMode):
    """Lets Python's numbers reach the device by a copy, and the device's reach Python so, as with a real one."""

    MAKERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
    READERS = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.READERS and isinstance(args[0], _OnDevice):
            args = (args[0].cpu(), *args[1:])
        if func not in self.MAKERS:
            return func(*args, **kwargs)
        own = args[0] if func is torch.Tensor.new_tensor else None
        device = kwargs.pop("device", None) or (DEVICE if isinstance(own, _OnDevice) else torch.device("cpu"))
        if own is not None:
            args, kwargs = args[1:], {"dtype": own.dtype, **kwargs}
        if isinstance(args[0], Tensor):
            return args[0].to(device, kwargs.get("dtype"))
        made = torch.tensor(*args, **{**kwargs, "requires_grad": False}).to(device)
        return made.requires_grad_(kwargs.get("requires_grad", False))


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation on the numbers; what comes of it is on the device where an input was, or where it is wanted."""
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    wanted = kwargs.get("device")
    where = any(isinstance(one, _OnDevice) for one in tensors) if wanted is None else wanted == DEVICE
    plain_kwargs = dict(kwargs)
    if wanted is not None:
        plain_kwargs["device"] = torch.device("cpu") if wanted == DEVICE else wanted
    result = func(*tree_map(_held, args), **tree_map(_held, plain_kwargs))
    if func.overloadpacket.__name__ == "copy_":
        return args[0]
    if not where:
        return result
    wrapped = tree_map(lambda one: _OnDevice(one) if type(one) is Tensor else one, result)
    if wanted is not None:
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)  # type: ignore[no-untyped-call]


def _held(value: Any) -> Any:
    return value.held if isinstance(value, _OnDevice) else value


def _is_boolean(args: Sequence[Any]) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices)


def _other() -> str:
    """Name what waits that is not the trainer's own, or return an empty string."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_prepared":
            return "prepare_batch (non_blocking=True with pinned memory does not wait)"
        if code.co_name == "_proposed":
            return "label_proposal"
        if code.co_name == "_fire_event":
            return "event handlers, including decollation (decollate=False switches it off)"
        path = Path(code.co_filename)
        # Modes that watch torch's functions wait for nothing of their own.
        watches = code.co_name == "__torch_function__"
        own = path.is_relative_to(PACKAGE) and path.parent not in (Path(__file__).parent, PACKAGE / "handlers")
        if own and not watches:
            return ""
        frame = frame.f_back
    return ""


def _line() -> str:
    """Name the innermost line of the package that runs now; of other code, not torch's, where there is none."""
    frame: Any = sys._getframe(1)
    other = ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE) and path != Path(__file__):
            return f"{path.relative_to(PACKAGE)}:{frame.f_lineno} {frame.f_code.co_name}"
        if not other and not path.is_relative_to(TORCH) and path != Path(__file__):
            other = f"{path.name}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return other
