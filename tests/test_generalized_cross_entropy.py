# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.generalized_cross_entropy import GeneralizedCrossEntropy
from monai_gmcl.per_image_loss import per_image_loss

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("q", "wanted"),
    [(1e-9, functional.cross_entropy(LOGITS, LABELS)), (1.0, 1 - LOGITS.softmax(1)[range(6), LABELS].mean())],
)
def test_it_lies_between_cross_entropy_and_the_absolute_error(q: float, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(GeneralizedCrossEntropy(q)(LOGITS, LABELS), wanted, rtol=1e-6, atol=1e-6)


def test_the_losses_of_images_are_known_at_once() -> None:
    loss = GeneralizedCrossEntropy()
    each = per_image_loss(loss, LOGITS, LABELS[:, None])
    torch.testing.assert_close(each, GeneralizedCrossEntropy(reduction="none")(LOGITS, LABELS))
    torch.testing.assert_close(each.mean(), loss(LOGITS, LABELS))
    torch.testing.assert_close(each.sum(), GeneralizedCrossEntropy(reduction="sum")(LOGITS, LABELS))


def test_several_labels_of_an_image_are_refused() -> None:
    with pytest.raises(LabelError, match="one class for each of .*BCEWithLogitsLoss"):
        GeneralizedCrossEntropy()(LOGITS, torch.ones(LOGITS.shape))


@pytest.mark.parametrize("wrong", [{"q": 0}, {"q": 1.1}, {"reduction": "median"}])
def test_arguments_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="GeneralizedCrossEntropy: expected"):
        GeneralizedCrossEntropy(**wrong)
