# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What each operation of a policy does to a student's error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.labels import are_masks
from monai_gmcl.tasks.segmentation import channel_numbers

LEAST_IMAGES = 2
"""On which an operation must act, and on which not: of fewer a scatter is not known."""


class OperationEffects(NamedTuple):
    """What each operation adds to the error.

    Attributes:
        effects: ``(K,)`` float64, in the unit of the errors; NaN where it is not known.
        standard_errors: ``(K,)`` float64.
    """

    effects: Tensor
    standard_errors: Tensor


def operation_effects(acts: Tensor, errors: Tensor) -> OperationEffects:
    """Return what each operation does to the error of an image, from a randomized experiment.

    Operations act on images at random and independently of each other
    (``PolicyTeacher.acts``). With ``X = [1, acts]``, effects and standard errors are

        ``b = (X^T X)^-1 X^T e``
        ``V = (X^T X)^-1 X^T diag(r^2 / (1 - h)) X (X^T X)^-1``, ``r = e - X b``, ``h = diag(X (X^T X)^-1 X^T)``

    All operations are fitted together, by least squares. A difference of means is right on average, too, but what the
    other operations do to an image is noise in it; here it is taken off, with their chance imbalance in few images.
    With one operation b is that difference and V is ``s1^2 / n1 + s0^2 / n0``, which holds where an operation makes
    errors scatter and where it acts seldom (HC2: MacKinnon and White 1985).

    NaN, effect and standard error: operations that act on fewer than two images, or on all but fewer than two, of
    which nothing can be said; and all, where images are too few to tell the operations apart. The standard errors
    alone, where one image decides on an operation.

    Args:
        acts: bool ``(n, K)``, which operations acted on which image.
        errors: ``(n,)``, such as :func:`prediction_error`; less those of the unchanged images where these are known,
            which takes away how hard each image is.

    Raises:
        ConfigurationError: other shapes, or errors that are not finite.
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
    """Coefficients, and their standard errors by HC2."""
    inverse = torch.linalg.inv(design.T @ design)
    fit = inverse @ design.T
    residuals = errors - design @ (fit @ errors)
    leverage = (design @ inverse * design).sum(1)
    # The residual of an image that alone decides on an operation is 0 and tells nothing of the scatter.
    scatter = torch.where(leverage < 1 - 1e-9, residuals.square() / (1 - leverage), torch.nan)
    return fit @ errors, (fit.square() @ scatter).sqrt()


def prediction_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the error of each prediction, 0 to 1 ``(n,)``: 1 less the probability that is given to the label.

    It says more than whether the prediction is right, which changes on few images, and is not ruled by a few of them,
    as the loss may be.

    Of a mask it is the mean over its classes of the mean error of their pixels, so that an object counts as much as
    the background around it.

    Args:
        outputs: logits ``(n, K)``; ``(n, 1)`` of one logit; or ``(n, K, *spatial)``.
        labels: classes, int64 ``(n,)`` or ``(n, 1)``; float ``(n, K)``, for which it is the mean over labels; or masks
            ``(n, 1, *spatial)`` of classes, whatever their type, of which those outside 0 to K - 1 are left out, or
            ``(n, K, *spatial)`` of channels.

    Raises:
        LabelError: other shapes.
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
