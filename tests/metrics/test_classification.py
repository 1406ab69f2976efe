# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import calibration_error, classification_measures


def of_finding(*values: float) -> torch.Tensor:
    found = torch.tensor(values)
    return torch.stack([1 - found, found], 1)


def test_measures_of_a_small_table_agree_with_counting_by_hand() -> None:
    probabilities = of_finding(0.9, 0.6, 0.2, 0.7, 0.1, 0.3, 0.4, 0.05)
    labels = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0])
    found = classification_measures(probabilities, labels)
    assert found["sensitivity"] == pytest.approx(2 / 3) and found["specificity"] == pytest.approx(4 / 5)
    assert found["accuracy"] == pytest.approx(6 / 8)
    # of 15 pairs, wrong: (.6, .7), (.2, .7), (.2, .3), (.2, .4)
    assert found["auc"] == pytest.approx(11 / 15)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    probabilities, labels = of_finding(0.9, 0.9, 0.9, 0.9), torch.tensor([1, 1, 1, 0])
    assert calibration_error(probabilities, labels) == pytest.approx(0.15, abs=1e-6)
    assert calibration_error(of_finding(1.0, 0.0), torch.tensor([1, 0])) == 0


def test_gaps_of_bins_do_not_cancel() -> None:
    probabilities, labels = of_finding(0.95, 0.55), torch.tensor([0, 1])
    assert calibration_error(probabilities, labels) == pytest.approx((0.95 + 0.45) / 2, abs=1e-6)


def test_three_classes_are_measured_each_against_the_rest() -> None:
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4]])
    labels = torch.tensor([0, 1, 2, 1, 0])
    found = classification_measures(probabilities, labels)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["sensitivity"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert found["specificity"] == pytest.approx((2 / 3 + 1 + 3 / 4) / 3)
    # pairs in order: class 0: 5 of 6 (.3 < .5); class 1: 6 of 6; class 2: 4 of 4
    assert found["auc"] == pytest.approx((5 / 6 + 1 + 1) / 3)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"found shapes \(2, 1\) and \(2,\)"):
        classification_measures(torch.rand(2, 1), torch.tensor([0, 1]))
    with pytest.raises(ConfigurationError, match=r"each class, 0 to 1, found classes \[1\]"):
        classification_measures(of_finding(0.5, 0.6), torch.tensor([1, 1]))
    with pytest.raises(ConfigurationError, match="in row 1; apply softmax to logits"):
        classification_measures(torch.tensor([[0.5, 0.5], [2.0, -1.0]]), torch.tensor([0, 1]))
    with pytest.raises(ConfigurationError, match=r"found \[nan, nan\] in row 0"):
        classification_measures(torch.tensor([[float("nan")] * 2, [0.5, 0.5]]), torch.tensor([0, 1]))
