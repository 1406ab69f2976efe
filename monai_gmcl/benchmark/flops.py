# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""FLOPs of whatever runs, counted operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

__all__ = ["FlopCounter"]

aten = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    shapes = (part.shape for part in (gradient, query, key, value))
    return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]


def _convolution_backward(*args: Any, out_val: Any) -> int:
    """The table's formula, by shares: for weights of a grouped convolution it counts every pair of groups."""
    mask, groups = args[10], args[9]
    to_images, to_weights = (
        int(flop_registry[aten.convolution_backward](*args[:10], part, out_val=out_val))
        for part in ([mask[0], False, False], [False, mask[1], False])
    )
    return to_images + to_weights // int(groups)


FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    # On a CPU, attention is an operation that torch's table does not have.
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten.convolution_backward: _convolution_backward,
}


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of convolutions, matrix products and attention while it is entered.

    Forward and backward passes alike, also of ``torch.autograd.grad``, double backward and inference mode.
    (``torch.utils.flop_counter.FlopCounterMode``, whose table of formulas this uses, follows modules and fails on
    gradients by leaves.) Elementwise operations, normalization, resampling and products of a vector do not count.

    Attributes:
        total: operations so far; a multiplication and an addition are two.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        formula = FORMULAS.get(func._overloadpacket)
        if formula is None:
            # In inference mode a linear layer comes whole, not as the matrix product that it is made of.
            with self:
                parts = func.decompose(*args, **options)
            return func(*args, **options) if parts is NotImplemented else parts
        found = func(*args, **options)
        self.total += formula(*args, **options, out_val=found)
        return found
