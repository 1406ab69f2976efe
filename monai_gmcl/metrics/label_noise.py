# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How many labels are false, and which: scores and estimates from class probabilities.

All take probabilities ``(N, K)``, rows of which sum to 1, and labels as given, int64 ``(N,)``, 0 to K - 1, each of them
at least once, and raise a ConfigurationError for others. The probabilities of an image must come from a student that
did not train on its label, or, at the least, does not know false labels by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import check_probabilities

__all__ = [
    "FalseLabelShare",
    "class_thresholds",
    "confident_classes",
    "confident_joint",
    "false_label_share",
    "label_joint",
    "normalized_margin",
    "self_confidence",
]

Measure = Callable[[Tensor, Tensor], Tensor]


class FalseLabelShare(NamedTuple):
    """An estimate of the share of false labels, 0 to 1, and the ends of its interval."""

    share: float
    low: float
    high: float


def _checked(measure: Measure) -> Measure:
    @wraps(measure)
    def checked(probabilities: Tensor, labels: Tensor) -> Tensor:
        check_probabilities(probabilities, labels)
        return measure(probabilities.double(), labels)

    return checked


def _own(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.gather(1, labels[:, None])[:, 0]


def _thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    of_label = torch.zeros_like(probabilities[0]).index_add(0, labels, _own(probabilities, labels))
    means = of_label / labels.bincount(minlength=len(of_label))
    # A mean of equal numbers can come out a bit above them all, and then none would reach it.
    most = torch.zeros_like(means).scatter_reduce(0, labels, _own(probabilities, labels), "amax")
    return torch.minimum(means, most)


def _counted(probabilities: Tensor, labels: Tensor) -> Tensor:
    sure = probabilities >= _thresholds(probabilities, labels)
    return torch.where(sure.any(1), probabilities.masked_fill(~sure, -1.0).argmax(1), -1)


def _counts(probabilities: Tensor, labels: Tensor) -> Tensor:
    classes = probabilities.shape[1]
    counted = _counted(probabilities, labels)
    pairs = labels[counted >= 0] * classes + counted[counted >= 0]
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)


def _joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    # No row is empty: at least the image that is surest of its own label reaches that label's threshold.
    counts = _counts(probabilities, labels).double()
    rows = counts / counts.sum(1, keepdim=True) * labels.bincount(minlength=len(counts))[:, None]
    return rows / rows.sum()


@_checked
def self_confidence(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each image's given label, ``(N,)``, 0 to 1: the lower, the more suspicious."""
    return _own(probabilities, labels)


@_checked
def normalized_margin(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return how far the given label's probability is above the best other one's, ``(N,)``, -1 to 1.

    ``p(ỹ) - max_{k ≠ ỹ} p(k)``: the lower, the more suspicious; below 0 where the student says another class (Northcutt
    et al. 2021, arXiv 1911.00068). Of two classes the order is that of :func:`self_confidence`.
    """
    return _own(probabilities, labels) - probabilities.scatter(1, labels[:, None], -torch.inf).amax(1)


@_checked
def class_thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return how sure the student is of each class on the images that are labeled so, on average: float64 ``(K,)``.

    ``t_j = mean of p(j) over the images with ỹ = j`` (Northcutt et al. 2021, equation 2).
    """
    return _thresholds(probabilities, labels)


@_checked
def confident_classes(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the class as which each image counts, int64 ``(N,)``; -1 where the student is sure of none.

    Of the classes whose probability reaches its threshold (:func:`class_thresholds`) the most probable one.
    """
    return _counted(probabilities, labels)


@_checked
def confident_joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return how many images with each given label (rows) count as each class (columns), int64 ``(K, K)``.

    ``C_{ỹ=i, y*=j}`` of Northcutt et al. 2021, equation 1: images with ỹ = i whose :func:`confident_classes` is j.
    """
    return _counts(probabilities, labels)


@_checked
def label_joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the estimated joint distribution of given (rows) and true labels (columns), float64 ``(K, K)``, sum 1.

    Each row of :func:`confident_joint` is scaled to the number of images with that given label, then all to 1
    (Northcutt et al. 2021, equation 3).
    """
    return _joint(probabilities, labels)


def false_label_share(
    probabilities: Tensor, labels: Tensor, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> FalseLabelShare:
    """Estimate the share of labels that are false: 1 minus the diagonal of :func:`label_joint`.

    The interval is that of a percentile bootstrap over the images of each given label. It says how much the estimate
    would differ for other images; it does not say how far a student that knows the classes badly misleads it: images
    that the student surely takes for another class count as false labels. Where one class alone is mislabeled, a part
    of its false labels, up to a third in simulations, is missed.

    Args:
        probabilities: of the classes.
        labels: as given.
        resamples: number of bootstrap samples, 1 or more.
        level: of the interval, between 0 and 1.
        seed: of the samples.

    Raises:
        ConfigurationError: other shapes or values.
    """
    check_probabilities(probabilities, labels)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 1:
        raise ConfigurationError(f"resamples: expected a whole number from 1, got {resamples!r}.")
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


def _share(probabilities: Tensor, labels: Tensor) -> float:
    return float(1 - _joint(probabilities, labels).trace())
