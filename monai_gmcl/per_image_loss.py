# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss of each image, by a loss function that gives the mean of a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.labels import ignore_index_of

__all__ = ["per_image_loss"]

LossFunction = Callable[[Any, Any], Tensor]


def per_image_loss(loss_function: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each image ``(B,)``, such that their mean is ``loss_function(outputs, labels).mean()``.

    Outputs are ``(B, K)`` or ``(B, K, *spatial)``. A loss with a ``reduction`` (torch's, MONAI's) is called once
    without it, and cross-entropy with class weights is normalized as torch does it, by the batch's sum of weights.
    Another callable, and a loss that gives no row for each image without its reduction, is called image by image; it
    must be a mean over images, or a weighted one with weights by label, which are found out. So is a loss of masks that
    pools images or holds other losses; where it is no mean over images (``batch=True``), each image's own loss is what
    a lesson takes.
    """
    reduction = getattr(loss_function, "reduction", None)
    if reduction not in ("mean", "none", "sum"):
        return _image_by_image(loss_function, outputs, labels)
    if outputs.ndim > 2 and _stands_alone(loss_function):
        return _image_by_image(loss_function, outputs, labels) * (len(outputs) if reduction == "sum" else 1)
    # A deep copy would copy the class weights at every call.
    single = copy.copy(loss_function)
    single.reduction = "none"  # type: ignore[attr-defined]
    losses = single(outputs, labels)
    if losses.ndim == 0 or len(losses) != len(outputs):
        return _image_by_image(loss_function, outputs, labels)
    if reduction == "sum":
        return losses.flatten(1).sum(1) * len(losses) if losses.ndim > 1 else losses * len(losses)
    scale = _class_weight_scale(loss_function, losses, labels) if reduction == "mean" else 1.0
    return losses.flatten(1).mean(1) * scale if losses.ndim > 1 else losses * scale


def _image_by_image(loss_function: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    known = _known_images(loss_function, outputs, labels)
    each = labels if known is None else labels.where(known.view(-1, *[1] * (labels.ndim - 1)), 0)
    pairs = [(outputs[i : i + 1], each[i : i + 1]) for i in range(len(outputs))]
    try:
        losses = torch.stack([loss_function(*pair).mean() for pair in pairs])
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        name = getattr(loss_function, "__name__", type(loss_function).__name__)
        raise ConfigurationError(
            f"Lessons need the loss of each image, and the loss function {name} fails on a single image: {error}. "
            "Use a loss that is a mean over images, or give your loss an attribute reduction: with reduction='none' it "
            "returns the loss of each image (B,)."
        ) from error
    if known is not None:
        losses = losses.where(known, 0)
    weights = _weights_in_batch(loss_function, outputs, labels) if outputs.ndim <= 2 else None
    return losses if weights is None else losses * weights


def _known_images(loss_function: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor | None:
    """Return whether a mask has a pixel that the loss does not ignore ``(B,)``; None where labels are no such masks.

    Of an image without one, cross-entropy is a mean over no pixel.
    """
    if outputs.ndim <= 2 or labels.ndim == outputs.ndim and labels.shape[1] == outputs.shape[1] > 1:
        return None
    return (labels != ignore_index_of(loss_function)).flatten(1).any(1)


def _stands_alone(loss_function: LossFunction) -> bool:
    """Whether a loss of masks must be called on each image alone, as its ``reduction="none"`` does not tell.

    So it is with a loss that holds others (DiceCELoss) or pools images (``batch=True``), with MONAI's losses where they
    leave out pixels (``ignore_index``), and, of sums, with all but torch's.
    """
    if type(loss_function).__module__ == "torch.nn.modules.loss":
        return False
    holds = isinstance(loss_function, torch.nn.Module) and any(
        hasattr(p, "reduction") for p in loss_function.children()
    )
    ignores = not isinstance(loss_function, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss)
    ignores = ignores and getattr(loss_function, "ignore_index", None) is not None
    return holds or ignores or getattr(loss_function, "batch", False) or loss_function.reduction == "sum"  # type: ignore[attr-defined]


@torch.no_grad()
def _weights_in_batch(loss_function: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor | None:
    """Return how much each image counts in the loss of all of them ``(B,)``, 1 on average where labels come as often.

    A loss with weights, normalized over the batch, hides them where an image stands alone. They are read off made-up
    outputs: those of one label after the other are moved, and the loss of the batch and of one image are compared. None
    where all count the same, or where the loss is no weighted mean with weights by label.
    """
    kinds, kind_of = torch.unique(labels, dim=0, return_inverse=True)
    if len(kinds) < 2:
        return None
    numbers = torch.rand(3, *outputs.shape[1:], generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    precision = torch.promote_types(outputs.dtype, torch.float32)
    here, there, elsewhere = numbers.to(device=outputs.device, dtype=precision).unsqueeze(1)

    def alone(output: Tensor) -> Tensor:
        return torch.stack([loss_function(output, kind[None]).mean() for kind in kinds])

    def together(rows: Tensor) -> Tensor:
        return loss_function(rows, labels).mean()

    try:
        all_here = here.expand(len(labels), *here.shape[1:])
        moved = [
            together(torch.where((kind_of == k).view(-1, *[1] * (here.ndim - 1)), there, all_here))
            for k in range(len(kinds))
        ]
        change = (torch.stack(moved) - together(all_here)) / torch.bincount(kind_of) * len(labels)
        weights = (change / (alone(there) - alone(here)))[kind_of]
        expected = (weights * alone(elsewhere)[kind_of]).mean()
        found = together(elsewhere.expand_as(all_here))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError):
        # It does not take made-up outputs: the first lesson shows whether weights are missing.
        return None
    if not torch.allclose(expected, found, rtol=1e-3) or torch.allclose(weights, torch.ones_like(weights), rtol=1e-3):
        return None
    return weights


def _class_weight_scale(loss_function: LossFunction, losses: Tensor, labels: Tensor) -> Tensor | float:
    """Return B over the sum of the labels' class weights, which torch's mean of cross-entropy divides by."""
    if not isinstance(loss_function, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss) or labels.is_floating_point():
        return 1.0
    kept = labels != loss_function.ignore_index
    weight = loss_function.weight
    # At least float32: half precision cannot count beyond 2048.
    precision = torch.promote_types(losses.dtype, torch.float32)
    counts = kept.to(precision) if weight is None else weight[labels.where(kept, 0)] * kept
    scale: Tensor = labels.numel() / counts.sum()
    return scale
