# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""States of plain tensors, numbers and strings, which ``torch.load`` reads with ``weights_only``."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import CheckpointError

__all__ = ["check_finite", "plain", "random_state", "set_random_state"]


def plain(value: Any, name: str) -> Any:
    """Return a state as plain tensors, numbers, strings and containers of them, loadable with ``weights_only=True``.

    CheckpointError if the state contains something else; ``name`` is used in the message.
    """
    if isinstance(value, Tensor):
        return _plain_tensor(value)
    if isinstance(value, Mapping):
        return {_plain_key(key, name): plain(item, f"{name}[{str(key)!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    # Not the value itself, because weights_only rejects subclasses such as StrEnum, whose str() may be their name.
    if isinstance(value, str):
        # Interned, because pickle stores which strings are one object, and equal states should give equal files.
        return sys.intern(str.__str__(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise CheckpointError(
        f"{name} is a {type(value).__name__}; a checkpoint can hold only tensors, numbers, strings, and lists and "
        "mappings of them. Remove it from the state, or convert it."
    )


def _plain_tensor(value: Tensor) -> Tensor:
    tensor = value.detach()
    tensor = tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
    if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
        # torch.save writes the whole storage of a view.
        tensor = tensor.clone()
    return tensor


def _plain_key(key: Any, name: str) -> Any:
    if isinstance(key, str):
        return sys.intern(str.__str__(key))
    if isinstance(key, int):
        return int(key)
    raise CheckpointError(f"{name} has the key {key!r}; keys in a checkpoint must be strings or whole numbers.")


def check_finite(module: nn.Module, name: str) -> None:
    """Raise CheckpointError if a weight or buffer is not finite; the message names the first one."""
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{name} is not saved: its {key} has NaN or infinite values. Lower the learning rate, or continue "
                "from the last checkpoint, which is valid."
            )


def random_state() -> dict[str, Any]:
    """Return the state of the random generators of torch, numpy and python."""
    numbers: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (MONAI and users draw from it)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": {
            "key": torch.from_numpy(numbers["state"]["key"].astype(np.int64)),
            "pos": int(numbers["state"]["pos"]),
            "has_gauss": int(numbers["has_gauss"]),
            "gauss": float(numbers["gauss"]),
        },
        "python": {"version": version, "internal": torch.tensor(internal), "gauss": gauss},
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore the result of :func:`random_state`; generators of missing devices are ignored."""
    torch.set_rng_state(state["torch"])
    for device, generator in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(generator, device)
    numbers, python = state["numpy"], state["python"]
    key = numbers["key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, numbers["pos"], numbers["has_gauss"], numbers["gauss"]))  # noqa: NPY002
    random.setstate((python["version"], tuple(python["internal"].tolist()), python["gauss"]))
