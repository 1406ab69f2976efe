# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tests of a loss function on made-up outputs, to determine the meaning of labels and outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError
from monai_gmcl.labels import labels_for_loss
from monai_gmcl.tasks.base import SUPPORTED_TASKS

__all__ = ["AskedLoss", "refuse_regression"]


class AskedLoss:
    """Tests a loss function on made-up outputs without changing it."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def has_softmax(self, outputs: Tensor, labels: Tensor) -> bool:
        ones = torch.ones_like(outputs[:, 0])
        if any(torch.allclose(o.sum(1), ones, atol=1e-3) and bool((o >= 0).all()) for o in (outputs, outputs.exp())):
            return True
        probe = torch.linspace(0.1, 0.5, outputs.numel(), device=outputs.device).view_as(outputs).to(outputs.dtype)
        # The second time for a mean of absolute differences, which does not change between 0 and 1.
        return all(_same(self._at(probe, labels), self._at(probe + more, labels)) for more in (0.4, 2.0))

    def is_undecided_at_half(self, outputs: Tensor, labels: Tensor) -> bool:
        half = torch.full_like(outputs, 0.5)
        return _same(self._at(half, torch.zeros_like(labels)), self._at(half, torch.ones_like(labels)))

    def takes_probabilities(self, outputs: Tensor) -> bool:
        """Whether a loss of masks treats the output 1 as full confidence, or .5 as undecided."""
        parts = self.function.modules() if isinstance(self.function, nn.Module) else ()
        if any(getattr(part, "sigmoid", False) is True for part in parts):
            return False
        ones = torch.ones_like(outputs)
        return self.is_undecided_at_half(outputs, ones) or self._at(ones, ones) < 0.01 * self._at(ones / 2, ones)

    def is_of_differences(self, outputs: Tensor, labels: Tensor) -> bool:
        def at(output: float, label: float) -> float:
            return self._at(torch.full_like(outputs, output), torch.full_like(labels, label))

        return _same(at(0.4, 0.1), at(0.9, 0.6)) and _same(at(0.1, 0.4), at(0.6, 0.9))

    def leaves_out(self, ignored: int, shape: Sequence[int]) -> bool | None:
        """Whether the loss ignores pixels with the value ``ignored`` in a mask of class indices.

        The test runs on the CPU, because an invalid class index would end the process on a GPU. None: unknown.

        Args:
            ignored: the value.
            shape: shape of the outputs for one image.
        """
        function = self.function
        asked = AskedLoss(copy.deepcopy(function).cpu() if isinstance(function, nn.Module) else function)
        probe = torch.linspace(0.1, 0.5, math.prod(shape)).view(1, *shape)
        left_out = (torch.arange(math.prod(shape[1:])) % 2 == 0).view(1, 1, *shape[1:])
        labels = torch.where(left_out, float(ignored), 0.0)
        if math.isnan(asked._at(probe, torch.zeros_like(labels))):
            return None
        return _same(asked._at(probe, labels), asked._at(torch.where(left_out, 1 - probe**2, probe), labels))

    @torch.no_grad()
    def _at(self, outputs: Tensor, labels: Tensor) -> float:
        try:
            # A loss may count its calls, or have parameters.
            loss = copy.deepcopy(self.function) if isinstance(self.function, nn.Module) else self.function
            with torch.random.fork_rng(devices=[outputs.device] if outputs.device.type == "cuda" else []):
                torch.manual_seed(0)
                return float(loss(outputs, labels_for_loss(self.function, labels)).mean())
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError):
            # A loss that raises an error for made-up outputs or labels is of another kind.
            return float("nan")


def refuse_regression(loss_function: Callable[..., Tensor], outputs: Tensor, labels: Tensor) -> None:
    between = labels[(labels > 0) & (labels < 1)]
    if len(between) and AskedLoss(loss_function).is_of_differences(outputs, labels.to(outputs.device)):
        raise LabelError(
            f"Labels between 0 and 1, such as {float(between[0]):g}, with a loss of differences "
            f"({_name(loss_function)}) are targets of a regression. {SUPPORTED_TASKS}; use SupervisedTrainer for them."
        )


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-3)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
