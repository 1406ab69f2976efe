# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from studies.wrong_labels.peers import GeneralizedCrossEntropy, learning_to_reweight

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("q", "wanted"),
    [(1e-9, functional.cross_entropy(LOGITS, LABELS)), (1.0, 1 - LOGITS.softmax(1)[range(6), LABELS].mean())],
)
def test_generalized_cross_entropy_lies_between_cross_entropy_and_absolute_error(
    q: float, wanted: torch.Tensor
) -> None:
    torch.testing.assert_close(GeneralizedCrossEntropy(q)(LOGITS, LABELS), wanted, rtol=1e-6, atol=1e-6)
    assert GeneralizedCrossEntropy(q, "none")(LOGITS, LABELS).shape == (6,)


def test_reweighting_learns_from_images_that_trusted_ones_agree_with_alone() -> None:
    torch.manual_seed(0)
    network = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(network.weight)
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    given = torch.tensor([0, 1])
    trusted: Any = DataLoader(TensorDataset(images[:1], given[:1]), batch_size=1)
    trainer = learning_to_reweight(
        {
            "device": "cpu",
            "max_epochs": 1,
            "train_data_loader": [(images, given)],
            "network": network,
            "optimizer": torch.optim.SGD(network.parameters(), lr=1.0),
            "loss_function": nn.CrossEntropyLoss(),
            "decollate": False,
        },
        trusted,
    )
    trainer.run()
    # The first image's own step, as if it had the weight 1; the second one's label is refused.
    torch.testing.assert_close(network.weight.detach(), torch.tensor([[0.5, 0.0], [-0.5, 0.0]]))
