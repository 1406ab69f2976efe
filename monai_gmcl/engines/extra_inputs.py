# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from monai_gmcl.exceptions import DataError

__all__ = ["ExtraInputs"]

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
PLAIN = (bool, int, float, str, type(None))


class ExtraInputs:
    """The student's inputs beside the images, from ``prepare_batch``'s ``args`` and ``kwargs``.

    A lesson's images have the extra inputs of their sources. So it must be known which of them come one for each image:
    on the first batch of B images, those are tensors ``(B, ...)`` and lists of B numbers or strings. The others are the
    same for all images, and are those of the newest batch. Tensors, numbers, strings, None, and lists, tuples and
    dictionaries of them are accepted, as deep as they go.
    """

    def __init__(self) -> None:
        self._form: Any = None

    def split(self, args: Sequence[Any], kwargs: Mapping[str, Any], n: int) -> list[Any]:
        """Return what comes one for each image of a batch, each a tensor or a list of length ``n``.

        Raises:
            DataError: something of another type; inputs of another form than in the first batch.
        """
        leaves: list[Any] = []
        form = _form((tuple(args), dict(kwargs)), n, leaves, self._form, "prepare_batch's extra inputs")
        self._form = form
        return leaves

    def join(self, leaves: Sequence[Any]) -> Inputs:
        """Return ``args`` and ``kwargs`` for other images: the reverse of :meth:`split`."""
        if self._form is None:
            return (), {}
        inputs: Inputs = _filled(self._form, leaves)
        return inputs

    def state_dict(self) -> dict[str, Any]:
        """Return which come one for each image, and the others as they are."""
        return {"form": self._form}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what was saved."""
        self._form = state["form"]


def _form(value: Any, n: int, leaves: list[Any], known: Any, name: str) -> Any:
    """Take a value apart; a form is a tagged tree, so that a checkpoint can hold it."""
    value = value.as_tensor() if isinstance(value, MetaTensor) else value
    each = _is_one_each(value, n) if known is None else known["kind"] == "each"
    if each:
        if not isinstance(value, Tensor | list) or len(value) != n:
            found = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
            raise DataError(
                f"{name}: expected one for each of {n} images, as in the first batch, got {found}. What is the same "
                "for all images must not be as long as a batch."
            )
        leaves.append(value)
        return {"kind": "each", "place": len(leaves) - 1}
    kind = type(value).__name__ if isinstance(value, list | tuple | dict) else "same"
    if known is not None and known["kind"] != kind:
        raise DataError(f"{name}: expected the same form in every batch, got {known['kind']} first and {kind} now.")
    if kind == "same":
        if not isinstance(value, PLAIN + (Tensor,)):
            raise DataError(
                f"{name}: expected tensors, numbers, strings, None, and lists, tuples and dictionaries of them, got "
                f"{type(value).__name__}. Lessons need a copy of them for each of their images."
            )
        return {"kind": "same", "value": value.detach() if isinstance(value, Tensor) else value}
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if known is not None and list(known["parts"]) != keys:
        raise DataError(f"{name}: expected {list(known['parts'])} as in the first batch, got {keys}.")
    parts = {k: _form(value[k], n, leaves, known and known["parts"][k], f"{name}[{k!r}]") for k in keys}
    return {"kind": kind, "parts": parts}


def _is_one_each(value: Any, n: int) -> bool:
    if isinstance(value, Tensor):
        return value.ndim > 0 and len(value) == n
    # A list of tensors is what collating makes of tuples.
    return isinstance(value, list) and len(value) == n and all(isinstance(item, PLAIN) for item in value)


def _filled(form: Any, leaves: Sequence[Any]) -> Any:
    if form["kind"] == "each":
        return leaves[form["place"]]
    if form["kind"] == "same":
        return form["value"]
    parts = {key: _filled(part, leaves) for key, part in form["parts"].items()}
    if form["kind"] == "dict":
        return parts
    return list(parts.values()) if form["kind"] == "list" else tuple(parts.values())


def joined(parts: Sequence[Any], device: torch.device) -> Any:
    """Return one leaf of several images from that of each: a tensor on the device, or a list."""
    return torch.stack(list(parts)).to(device) if isinstance(parts[0], Tensor) else list(parts)
