# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from monai.metrics.rocauc import compute_roc_auc
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError

__all__ = [
    "calibration_bins",
    "calibration_error",
    "check_probabilities",
    "class_report",
    "classification_measures",
    "mean_auc",
]


def classification_measures(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, AUC, sensitivity, specificity and calibration error of class probabilities.

    For two classes, AUC, sensitivity and specificity are those of class 1, the finding. For more classes, they are
    means over classes, each against the rest. Accuracy is the fraction of images whose most probable class is correct.

    Args:
        probabilities: probabilities of the classes, ``(N, K)``, K of 2 or more; rows sum to 1.
        labels: int64 ``(N,)``, 0 to K - 1; each class occurs at least once.

    Returns:
        ``accuracy``, ``auc``, ``sensitivity``, ``specificity`` and ``ece`` (:func:`calibration_error`), 0 to 1.

    Raises:
        ConfigurationError: wrong shapes, rows that are not probabilities (logits, NaN), or a class without images.
    """
    check_probabilities(probabilities, labels)
    classes = probabilities.shape[1]
    predicted, wanted = (nn.functional.one_hot(part, classes) for part in (probabilities.argmax(1), labels))
    counts = get_confusion_matrix(predicted, wanted).sum(0)[_findings(classes)]
    rates = {name: compute_confusion_matrix_metric(name, counts) for name in ("sensitivity", "specificity")}
    return {
        "accuracy": float((predicted * wanted).sum() / len(labels)),
        "auc": mean_auc(probabilities, labels),
        **{name: float(rate.mean()) for name, rate in rates.items()},
        "ece": calibration_error(probabilities, labels),
    }


def mean_auc(probabilities: Tensor, labels: Tensor) -> float:
    """Return the AUC of class 1 for two classes, or the mean one-against-rest AUC for more classes."""
    classes = probabilities.shape[1]
    wanted, findings = nn.functional.one_hot(labels, classes), _findings(classes)
    auc: Any = compute_roc_auc(probabilities[:, findings], wanted[:, findings], average="macro")
    return float(auc)


def _findings(classes: int) -> slice:
    return slice(1, 2) if classes == 2 else slice(None)


def check_probabilities(probabilities: Tensor, labels: Tensor) -> None:
    """Raise ConfigurationError if :func:`classification_measures` does not accept the probabilities or labels."""
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or labels.shape != probabilities.shape[:1]:
        raise ConfigurationError(
            f"Expected probabilities (N, K), K of 2 or more, and labels (N,), found shapes "
            f"{tuple(probabilities.shape)} and {tuple(labels.shape)}."
        )
    # Comparisons with NaN are false.
    fit = ((probabilities.sum(1) - 1).abs() < 1e-3) & (probabilities >= 0).all(1)
    if not fit.all():
        row = int(fit.int().argmin())
        raise ConfigurationError(
            f"Expected probabilities, rows of numbers from 0 that sum to 1, found {probabilities[row].tolist()} in row "
            f"{row}; apply softmax to logits."
        )
    found, wanted = sorted(set(labels.tolist())), list(range(probabilities.shape[1]))
    if found != wanted:
        raise ConfigurationError(f"Expected images of each class, 0 to {wanted[-1]}, found classes {found}.")


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: the mean absolute difference of confidence and accuracy.

    ``Σ_b |b| / N · |accuracy(b) - confidence(b)|`` over ``bins`` equal bins of the highest probability (Naeini et al.
    2015; Guo et al. 2017, arXiv 1706.04599).
    """
    _, confidence, right = calibration_bins(probabilities, labels, bins)
    return float((right - confidence).abs().sum() / len(labels))


def calibration_bins(probabilities: Tensor, labels: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return for equal bins of the highest probability: images, summed confidence, correct images; ``(bins,)`` each."""
    confidence, predicted = probabilities.max(1)
    places = (confidence * bins).long().clamp(max=bins - 1)

    def summed(values: Tensor) -> Tensor:
        return torch.zeros(bins, dtype=torch.float64, device=labels.device).index_add_(0, places, values.double())

    return places.bincount(minlength=bins), summed(confidence), summed(predicted == labels)


def class_report(probabilities: Tensor, labels: Tensor, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return accuracy (sensitivity), precision and AUC (one against the rest) for each class, and for all.

    For a class, ``accuracy`` is the fraction of its images that are predicted as this class (sensitivity),
    ``precision`` the fraction of images predicted as this class that belong to it, and ``auc`` the area under the ROC
    curve against the rest. For all images: the fraction of correct predictions, and the means of ``precision`` and
    ``auc`` over classes. Undefined values are NaN.
    """
    predicted = probabilities.argmax(1)
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(class_names):
        of_class, named = labels == index, predicted == index
        right = of_class & named
        rows.append(
            {
                "class": name,
                "images": int(of_class.sum()),
                "predicted": int(named.sum()),
                "accuracy": _share(right, of_class),
                "precision": _share(right, named),
                "auc": _auc(probabilities[:, index], of_class),
            }
        )
    means = {
        name: float(torch.tensor([row[name] for row in rows], dtype=torch.float64).nanmean())
        for name in ("precision", "auc")
    }
    accuracy = int((predicted == labels).sum()) / len(labels)
    return [*rows, {"class": "all", "images": len(labels), "predicted": len(labels), "accuracy": accuracy, **means}]


def _share(part: Tensor, whole: Tensor) -> float:
    return int(part.sum()) / int(whole.sum()) if whole.any() else float("nan")


def _auc(scores: Tensor, of_class: Tensor) -> float:
    if of_class.all() or not of_class.any():
        return float("nan")
    return float(torch.as_tensor(compute_roc_auc(scores, of_class.long())))
