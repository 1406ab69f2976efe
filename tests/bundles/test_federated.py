# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.fl.client.monai_algo import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from monai.networks.utils import get_state_dict

from monai_gmcl import GMCLTrainer

BUNDLE = Path(__file__).parents[2] / "bundles" / "gmcl_classification"
SMALL = {"image_size": 16, "batch_size": 8, "device": "cpu", "network_def#layers": [1, 1, 1, 1], "data_check": False}


@pytest.fixture(scope="module")
def client(data: Path, tmp_path_factory: pytest.TempPathFactory) -> MonaiAlgo:
    """A client of federated learning on the bundle, as MONAI builds it."""
    folder = tmp_path_factory.mktemp("client")
    options = {**SMALL, "dataset_dir": str(data), "output_dir": str(folder / "output")}
    algo = MonaiAlgo(
        bundle_root=str(BUNDLE),
        local_epochs=1,
        config_train_filename="configs/train.yaml",
        config_evaluate_filename="configs/train.yaml",
        eval_workflow_name="train",
        train_kwargs=options,
        eval_kwargs={**options, "output_dir": str(folder / "evaluated")},
    )
    algo.initialize(extra={ExtraItems.CLIENT_NAME: "site"})  # type: ignore[no-untyped-call]
    return algo


def weights_of(algo: MonaiAlgo) -> dict[str, Any]:
    return {name: torch.as_tensor(value).clone() for name, value in get_state_dict(algo.trainer.network).items()}


def test_a_federated_client_trains_the_bundle_and_gives_its_weights(client: MonaiAlgo) -> None:
    assert isinstance(client.trainer, GMCLTrainer) and isinstance(client.trainer, SupervisedTrainer)
    given = weights_of(client)
    client.train(ExchangeObject(weights=given), extra={})
    assert client.trainer.state.epoch == 1 and client.trainer.state.lesson is not None
    trained = client.get_weights(extra={})  # type: ignore[no-untyped-call]
    assert trained.weights.keys() == given.keys() and trained.statistics["num_executed_iterations"] > 0
    assert any(not torch.equal(torch.as_tensor(trained.weights[name]).cpu(), given[name]) for name in given)


def test_a_federated_client_judges_the_weights_that_it_is_sent(client: MonaiAlgo) -> None:
    sent = {name: torch.zeros_like(value) for name, value in weights_of(client).items()}
    metrics = client.evaluate(ExchangeObject(weights=sent), extra={}).metrics
    assert all(
        not value.any() for value in get_state_dict(client.evaluator.network).values() if value.is_floating_point()
    )
    assert metrics is not None and 0 <= metrics["val_accuracy"] <= 1
