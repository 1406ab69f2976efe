# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Generalized cross-entropy, a loss that is robust to wrong labels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError, LabelError

__all__ = ["GeneralizedCrossEntropy"]


class GeneralizedCrossEntropy(nn.Module):
    """``(1 - p(label) ** q) / q`` (Zhang and Sabuncu 2018, arXiv 1805.07836), which is robust to wrong labels.

    Improbable labels have smaller gradients than with cross-entropy. The limit q = 0 is cross-entropy. q = 1 is the
    absolute error 1 - p, which is most robust to wrong labels, but gives the slowest training.

    Args:
        q: above 0, at most 1.
        reduction: ``mean``, ``sum`` or ``none``.

    Shape:
        logits ``(B, K)`` and classes ``(B,)`` or ``(B, 1)`` to a number, or ``(B,)`` without reduction.

    Raises:
        ConfigurationError: an argument outside its range.
        LabelError: when called, not one class for each image.
    """

    def __init__(self, q: float = 0.7, reduction: str = "mean") -> None:
        super().__init__()
        if not 0 < q <= 1:
            raise ConfigurationError(f"GeneralizedCrossEntropy: expected q above 0, at most 1, got {q}.")
        if reduction not in ("mean", "sum", "none"):
            raise ConfigurationError(f"GeneralizedCrossEntropy: expected mean, sum or none, got {reduction!r}.")
        self.q, self.reduction = q, reduction

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits and classes."""
        if labels.numel() != len(outputs):
            raise LabelError(
                f"GeneralizedCrossEntropy: expected one class for each of {len(outputs)} images, got labels "
                f"{tuple(labels.shape)}. For several labels an image, use torch.nn.BCEWithLogitsLoss."
            )
        own = functional.log_softmax(outputs, 1).gather(1, labels.view(-1, 1).long())[:, 0]
        losses = -(self.q * own).expm1() / self.q
        return losses if self.reduction == "none" else losses.mean() if self.reduction == "mean" else losses.sum()
