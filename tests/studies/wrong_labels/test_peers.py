# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from studies.wrong_labels.peers import learning_to_reweight


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
