# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label noise: scores of suspicious labels, and the fraction of wrong labels, from class probabilities.

The probabilities of an image should come from a student that was not trained on its label, or at least has not
memorized wrong labels. Inputs of all functions are the probabilities of the classes ``(N, K)``, with rows of sum 1, and
the given labels, int64 ``(N,)``, 0 to K - 1, with at least one image of each class. Other inputs raise a
``ConfigurationError``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import check_probabilities

__all__ = [
    "FalseLabelShare",
    "class_thresholds",
    "confident_classes",
    "false_label_share",
    "label_joint",
    "normalized_margin",
    "self_confidence",
]

SUREST_SHARE, LEAST_SUREST = 0.3, 10
"""Fraction, and lowest number, of the images with a label that are assumed to belong to its class."""


class FalseLabelShare(NamedTuple):
    """An estimate of the fraction of wrong labels, 0 to 1, and the ends of its interval."""

    share: float
    low: float
    high: float


def self_confidence(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each image's given label, ``(N,)``, 0 to 1. Low values are suspicious."""
    check_probabilities(probabilities, labels)
    return probabilities.gather(1, labels[:, None])[:, 0]


def normalized_margin(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of the given label minus the highest probability of another class, ``(N,)``, -1 to 1.

    ``p(ỹ) - max_{k ≠ ỹ} p(k)``. Low values are suspicious; below 0, the student predicts another class (Northcutt et
    al. 2021, arXiv 1911.00068). For two classes, the order is that of :func:`self_confidence`.
    """
    own = self_confidence(probabilities, labels)
    return own - probabilities.scatter(1, labels[:, None], -torch.inf).amax(1)


def class_thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean probability of each class over the images with this label: float64 ``(K,)``.

    ``t_j = mean of p(j) over the images with ỹ = j`` (Northcutt et al. 2021, equation 2).
    """
    own = self_confidence(probabilities, labels).double()
    of_label = own.new_zeros(probabilities.shape[1]).index_add(0, labels, own)
    means = of_label / labels.bincount(minlength=len(of_label))
    # By rounding, a mean of equal numbers can be slightly above them, and then no number would reach it.
    return torch.minimum(means, torch.zeros_like(means).scatter_reduce(0, labels, own, "amax"))


def confident_classes(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the confidently predicted class of each image, int64 ``(N,)``; -1 if there is none.

    This is the most probable of the classes whose probability reaches the threshold (:func:`class_thresholds`).
    """
    sure = probabilities >= class_thresholds(probabilities, labels)
    return torch.where(sure.any(1), probabilities.masked_fill(~sure, -1.0).argmax(1), -1)


def label_joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the estimated joint distribution of given (rows) and true labels (columns), float64 ``(K, K)``, sum 1.

    For each class k, the images with the highest probability of class k are assumed to belong to class k. Their number
    is 30 % of the images with the label k. Their given labels are an estimate of ``T[k, j] = P(ỹ = j | y = k)``
    (Patrini et al. 2017, arXiv 1609.03683). The true class frequencies follow from ``P(ỹ) = Tᵀ P(y)``. Confident
    learning (Northcutt et al. 2021) uses about half of the images, so that errors of a weak student count as wrong
    labels.
    """
    check_probabilities(probabilities, labels)
    return _joint(probabilities.double(), labels)


def false_label_share(
    probabilities: Tensor, labels: Tensor, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> FalseLabelShare:
    """Estimate the fraction of wrong labels: 1 minus the trace of :func:`label_joint`.

    The interval is that of a percentile bootstrap over the images of each given label. It shows how much the estimate
    would vary with other images. It does not include errors of the student: if an image with a confident prediction
    belongs to another class, its label counts as wrong. Wrong labels that occur only on difficult images are missed,
    because images with confident predictions are easy.

    Args:
        probabilities: probabilities of the classes, ``(N, K)``.
        labels: given labels, ``(N,)``.
        resamples: number of bootstrap samples, 1 or more.
        level: level of the interval, between 0 and 1.
        seed: seed of the samples.

    Raises:
        ConfigurationError: wrong shapes or values.
    """
    check_probabilities(probabilities, labels)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 1:
        raise ConfigurationError(f"resamples: expected a whole number of at least 1, got {resamples!r}.")
    if not 0 < level < 1:
        raise ConfigurationError(f"level: expected a number between 0 and 1, got {level!r}.")
    probabilities, labels = probabilities.double().cpu(), labels.cpu()
    generator = torch.Generator().manual_seed(seed)
    members = [(labels == label).nonzero()[:, 0] for label in range(probabilities.shape[1])]
    shares = []
    for _ in range(resamples):
        drawn = torch.cat([own[torch.randint(len(own), (len(own),), generator=generator)] for own in members])
        shares.append(_share(probabilities[drawn], labels[drawn]))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(torch.tensor(shares, dtype=torch.float64), tails).tolist()
    return FalseLabelShare(_share(probabilities, labels), low, high)


def _joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    classes = probabilities.shape[1]
    counts = labels.bincount(minlength=classes)
    rows = []
    for label, count in enumerate(counts.tolist()):
        own = probabilities[:, label]
        surest = max(math.ceil(SUREST_SHARE * count), min(LEAST_SUREST, count))
        # Images with the same probability as the last selected image are selected, too.
        reached = own >= own.topk(surest).values[-1]
        rows.append(labels[reached].bincount(minlength=classes).double() / reached.sum())
    transitions = torch.stack(rows)
    given = counts.double()[:, None] / counts.sum()
    # Non-negative, and of minimum norm if the student cannot distinguish classes.
    true: Tensor = torch.linalg.lstsq(transitions.T.cpu(), given.cpu(), driver="gelsd").solution[:, 0].clamp(min=0)
    joint: Tensor = transitions.T * (true / true.sum()).to(transitions)
    return joint / joint.sum()


def _share(probabilities: Tensor, labels: Tensor) -> float:
    return float(_joint(probabilities, labels).fill_diagonal_(0).sum())
