# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Effects of the operations of a policy on a student's error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.labels import are_masks
from monai_gmcl.tasks.segmentation import channel_numbers

__all__ = ["OperationEffects", "operation_effects", "prediction_error"]

LEAST_IMAGES = 2
"""Smallest number of images with, and without, an operation for which a variance is known."""


class OperationEffects(NamedTuple):
    """The effect of each operation on the error.

    Attributes:
        effects: ``(K,)`` float64, in units of the errors; NaN if unknown.
        standard_errors: ``(K,)`` float64.
    """

    effects: Tensor
    standard_errors: Tensor


def operation_effects(acts: Tensor, errors: Tensor) -> OperationEffects:
    """Estimate the effect of each operation on the error of an image, from a randomized experiment.

    Operations act on images at random and independently of each other
    (``PolicyTeacher.acts``). With ``X = [1, acts]``, effects and standard errors are

        ``b = (X^T X)^-1 X^T e``
        ``V = (X^T X)^-1 X^T diag(r^2 / (1 - h)) X (X^T X)^-1``, ``r = e - X b``, ``h = diag(X (X^T X)^-1 X^T)``

    All operations are fitted together by least squares. A difference of means is unbiased, too, but has a larger
    variance, because it includes the effects of the other operations. With one operation, b is the difference of means
    and V is ``s1^2 / n1 + s0^2 / n0``. The estimate of the variance is valid for errors of unequal variance and for
    operations that act rarely (HC2: MacKinnon and White 1985).

    Effect and standard error are NaN for an operation that acts on fewer than two images, or on all but fewer than two.
    All are NaN if there are too few images to separate the operations. Only the standard error is NaN if a single image
    determines the effect.

    Args:
        acts: bool ``(n, K)``, whether each operation acted on each image.
        errors: ``(n,)``, such as :func:`prediction_error`. If the errors of the unchanged images are known, subtract
            them to reduce the variance between images.

    Raises:
        ConfigurationError: wrong shapes, or errors that are not finite.
    """
    if acts.ndim != 2 or errors.shape != acts.shape[:1]:
        raise ConfigurationError(
            f"Expected acts (n, K) and errors (n,), got {tuple(acts.shape)} and {tuple(errors.shape)}."
        )
    if not errors.isfinite().all():
        raise ConfigurationError(
            f"Expected finite errors, got {int((~errors.isfinite()).sum())} of {len(errors)} that are NaN or infinite."
        )
    acted, errors = acts.double(), errors.double()
    count = acted.sum(0)
    effects, standard_errors = torch.full_like(count, torch.nan), torch.full_like(count, torch.nan)
    known = (count >= LEAST_IMAGES) & (len(acted) - count >= LEAST_IMAGES)
    design = torch.cat([torch.ones_like(acted[:, :1]), acted[:, known]], 1)
    rows, columns = design.shape
    if not known.any() or rows <= columns or torch.linalg.matrix_rank(design) < columns:
        return OperationEffects(effects, standard_errors)
    effects[known], standard_errors[known] = (found[1:] for found in _least_squares(design, errors))
    return OperationEffects(effects, standard_errors)


def _least_squares(design: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coefficients, and their standard errors by HC2."""
    inverse = torch.linalg.inv(design.T @ design)
    fit = inverse @ design.T
    residuals = errors - design @ (fit @ errors)
    leverage = (design @ inverse * design).sum(1)
    # If a single image determines an effect, its residual is 0, so that the variance is unknown.
    scatter = torch.where(leverage < 1 - 1e-9, residuals.square() / (1 - leverage), torch.nan)
    return fit @ errors, (fit.square() @ scatter).sqrt()


def prediction_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the error of each prediction, 0 to 1 ``(n,)``: 1 minus the probability of the label.

    This error is more sensitive than the accuracy, which changes on few images, and less sensitive to single images
    than the loss. For a mask, the error is the mean over its classes of the mean error of their pixels, so that a small
    object has the same weight as the background.

    Args:
        outputs: logits ``(n, K)``, one logit ``(n, 1)``, or ``(n, K, *spatial)``.
        labels: classes, int64 ``(n,)`` or ``(n, 1)``; float ``(n, K)``, for which the error is the mean over labels; or
            masks ``(n, 1, *spatial)`` of classes of any type (values outside 0 to K - 1 are ignored), or ``(n, K,
            *spatial)`` of channels.

    Raises:
        LabelError: wrong shapes.
    """
    outputs = outputs.detach().double()
    if are_masks(labels):
        return _mask_error(outputs, labels)
    if labels.is_floating_point():
        if labels.shape != outputs.shape:
            raise LabelError(f"Expected labels {tuple(outputs.shape)} as the outputs, got {tuple(labels.shape)}.")
        return (outputs.sigmoid() - labels).abs().flatten(1).mean(1)
    if outputs.ndim != 2 or labels.numel() != len(outputs):
        raise LabelError(
            f"Expected outputs (n, K) and classes (n,), got {tuple(outputs.shape)} and {tuple(labels.shape)}."
        )
    return 1 - outputs.softmax(1).gather(1, labels.reshape(-1, 1).long())[:, 0]


def _mask_error(outputs: Tensor, masks: Tensor) -> Tensor:
    n, count = outputs.shape[:2]
    if outputs.shape[2:] != masks.shape[2:] or len(masks) != n or masks.shape[1] not in (1, count):
        raise LabelError(
            f"Expected masks of the outputs' size {tuple(outputs.shape)}, of one channel or as many, got "
            f"{tuple(masks.shape)}."
        )
    if masks.shape[1] == 1 < count:
        errors, of = 1 - outputs.softmax(1), masks == channel_numbers(count, masks)
    else:
        found = outputs.sigmoid()
        errors, of = torch.cat([1 - found, found], 1), torch.cat([masks > 0.5, masks <= 0.5], 1)
    pixels = of.flatten(2).sum(2)
    by_class = torch.where(of, errors, 0).flatten(2).sum(2) / pixels
    return torch.where(pixels > 0, by_class, torch.nan).nanmean(1)
