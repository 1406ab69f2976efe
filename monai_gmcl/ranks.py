# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The processes that train one student together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Ranks", "on_first_rank"]

Attach = TypeVar("Attach", bound=Callable[..., None])


class Ranks:
    """The processes of ``torch.distributed`` that train one student together, each on its own batches.

    Gradients and accuracies are averaged over the images of all ranks, so that networks and curriculum are equal on
    every rank. Random draws (sources of lessons, latents, dropout) differ between ranks. With one rank, or without a
    process group, methods return their inputs and nothing is exchanged. The host waits for other hosts, but not for the
    device.

    Attributes:
        size: number of ranks.
        index: index of this rank; rank 0 writes files.
    """

    def __init__(self) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        self.size = dist.get_world_size() if grouped else 1
        self.index = dist.get_rank() if grouped else 0

    @property
    def alone(self) -> bool:
        """Whether there is only one rank."""
        return self.size == 1

    def all_gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all ranks in rank order: ``(n, ...)`` of each rank to ``(N, ...)``; n may differ.

        Numbers, ``()``, become rows ``(ranks,)``.
        """
        if self.alone:
            return rows
        lengths = [1] * self.size if rows.ndim == 0 else self.lengths(len(rows))
        own = rows.detach() if rows.ndim else rows.detach()[None]
        own = own.to(self._device(rows), non_blocking=True)
        # Collectives exchange tensors of one shape.
        padded = torch.cat([own, own.new_zeros(max(lengths) - len(own), *own.shape[1:])])
        of_all = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(of_all, padded)
        return torch.cat([one[:n] for one, n in zip(of_all, lengths, strict=True)]).to(rows.device)

    def lengths(self, own: int) -> list[int]:
        """Return the number of each rank, in rank order; the hosts exchange it, so that no host waits for a device."""
        if self.alone:
            return [own]
        of_all = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(of_all, torch.tensor([own]), _group_of_hosts(dist.group.WORLD))
        return [int(one) for one in of_all]

    def rank_weight(self, own: int, of_all: int) -> float:
        """Return this rank's number of images as a multiple of the mean over ranks."""
        return own * self.size / of_all

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over ranks; tensors of one type are exchanged together."""
        self._exchange(tensors, lambda flat: dist.all_reduce(flat))

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over ranks; tensors of one type are exchanged together."""
        if tensors and not self.alone:
            self.all_reduce(tensors)
            torch._foreach_div_(list(tensors), self.size)

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first rank."""
        self._exchange(tensors, lambda flat: dist.broadcast(flat, 0))

    def _device(self, tensor: Tensor) -> torch.device:
        """Return the device for exchanging a tensor: NCCL supports only the GPU."""
        return torch.device("cuda") if dist.get_backend() == "nccl" else tensor.device

    def _exchange(self, tensors: Sequence[Tensor], collective: Callable[[Tensor], Any]) -> None:
        if self.alone:
            return
        for kind in dict.fromkeys(tensor.dtype for tensor in tensors):
            of_kind = [tensor.detach() for tensor in tensors if tensor.dtype == kind]
            flat = torch.cat([tensor.reshape(-1) for tensor in of_kind]).to(self._device(of_kind[0]))
            collective(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in of_kind])
            torch._foreach_copy_(of_kind, [part.view_as(t) for part, t in zip(parts, of_kind, strict=True)])


@cache
def _group_of_hosts(world: Any) -> Any:
    """Return a group that exchanges tensors on the CPU, which NCCL does not; the first call is made on all ranks."""
    return world if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def on_first_rank(attach: Attach) -> Attach:
    """Attach a handler only on the first rank, because it writes files or to the screen."""

    @wraps(attach)
    def attached(*args: Any, **kwargs: Any) -> None:
        if Ranks().index == 0:
            attach(*args, **kwargs)

    return cast(Attach, attached)
