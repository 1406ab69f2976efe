# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss of each image, from a loss function that returns the mean of a batch."""

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

    A loss with a ``reduction`` (of torch or MONAI) is called once without it. Cross-entropy with class weights is
    normalized by the sum of weights in the batch, as in torch. Other callables, and losses that return no row for each
    image without reduction, are called on single images. They must be means over images, or weighted means with weights
    by label, which are determined automatically. Losses of masks that pool images or contain other losses are also
    called on single images. If such a loss is not a mean over images (``batch=True``), a lesson uses the loss of each
    single image.
    """
    reduction = getattr(loss_function, "reduction", None)
    if reduction not in ("mean", "none", "sum"):
        return _image_by_image(loss_function, outputs, labels)
    if outputs.ndim > 2 and _stands_alone(loss_function):
        return _image_by_image(loss_function, outputs, labels) * (len(outputs) if reduction == "sum" else 1)
    # Not a deep copy, which would copy the class weights at every call.
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
    """Return whether each mask has a pixel that the loss does not ignore ``(B,)``; None if labels are not such masks.

    For an image without such a pixel, cross-entropy is a mean over no pixels.
    """
    if outputs.ndim <= 2 or labels.ndim == outputs.ndim and labels.shape[1] == outputs.shape[1] > 1:
        return None
    return (labels != ignore_index_of(loss_function)).flatten(1).any(1)


def _stands_alone(loss_function: LossFunction) -> bool:
    """Whether a loss of masks must be called on single images, because ``reduction="none"`` gives another result.

    This holds for losses that contain other losses (DiceCELoss) or pool images (``batch=True``), for MONAI's losses
    that ignore pixels (``ignore_index``), and for sums, except those of torch.
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
    """Return the weight of each image in the loss of the batch ``(B,)``, with mean 1 for equally frequent labels.

    If a loss normalizes weights over the batch, the weight cancels for a single image. Weights are therefore determined
    with made-up outputs: the outputs of one label after the other are changed, and the losses of the batch and of one
    image are compared. None if all weights are equal, or if the loss is not a weighted mean with weights by label.
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
        # The loss does not accept made-up outputs; the first lesson shows whether weights are missing.
        return None
    if not torch.allclose(expected, found, rtol=1e-3) or torch.allclose(weights, torch.ones_like(weights), rtol=1e-3):
        return None
    return weights


def _class_weight_scale(loss_function: LossFunction, losses: Tensor, labels: Tensor) -> Tensor | float:
    """Return B divided by the sum of the labels' class weights, by which torch's mean of cross-entropy divides."""
    if not isinstance(loss_function, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss) or labels.is_floating_point():
        return 1.0
    kept = labels != loss_function.ignore_index
    weight = loss_function.weight
    # At least float32, because half precision cannot represent all integers above 2048.
    precision = torch.promote_types(losses.dtype, torch.float32)
    counts = kept.to(precision) if weight is None else weight[labels.where(kept, 0)] * kept
    scale: Tensor = labels.numel() / counts.sum()
    return scale
