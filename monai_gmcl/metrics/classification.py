# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""How good class probabilities are."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from monai.metrics.rocauc import compute_roc_auc
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["calibration_error", "classification_measures"]


def classification_measures(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, AUC, sensitivity, specificity and calibration error of two classes, of which 1 is the finding.

    Args:
        probabilities: of the classes, ``(N, 2)``, rows sum to 1.
        labels: int64 ``(N,)``, 0 or 1.

    Raises:
        ConfigurationError: other shapes, or images of one class only.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != 2 or labels.shape != probabilities.shape[:1]:
        raise ConfigurationError(
            f"Expected probabilities (N, 2) and labels (N,), found shapes {tuple(probabilities.shape)} and "
            f"{tuple(labels.shape)}."
        )
    if (found_labels := set(labels.tolist())) != {0, 1}:
        raise ConfigurationError(f"Expected images of classes 0 and 1, found {sorted(found_labels)}.")
    predicted, wanted = (nn.functional.one_hot(part, 2) for part in (probabilities.argmax(1), labels))
    counts = get_confusion_matrix(predicted, wanted, include_background=False).sum(0)
    auc: Any = compute_roc_auc(probabilities[:, 1], labels)
    names = ("accuracy", "sensitivity", "specificity")
    found = {name: float(compute_confusion_matrix_metric(name, counts)) for name in names}
    return {"auc": float(auc), **found, "ece": calibration_error(probabilities, labels)}


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, on average over the images.

    ``Σ_b |b| / N · |accuracy(b) - confidence(b)|`` over ``bins`` equal bins of the highest probability (Naeini et al.
    2015; Guo et al. 2017, arXiv 1706.04599).

    Args:
        probabilities: of the classes, ``(N, K)``.
        labels: int64 ``(N,)``.
        bins: number of bins.
    """
    confidence, predicted = probabilities.max(1)
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(
        0, bin_of, (predicted == labels).double() - confidence.double()
    )
    return float(gaps.abs().sum() / len(labels))
