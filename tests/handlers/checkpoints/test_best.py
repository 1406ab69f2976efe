# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from pathlib import Path

import pytest
from ignite.engine import Engine, Events
from torch import nn

from monai_gmcl import StudentDescription, describe_student, load_student
from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers import BestModelSaver

ONE = StudentDescription(["ill"], 2, 1)


def validation(saver: BestModelSaver, network: nn.Linear, scores: list[float]) -> Engine:
    """An engine whose weight is the number of the validation."""
    engine = Engine(lambda engine, batch: None)

    @engine.on(Events.EPOCH_COMPLETED)
    def score() -> None:
        engine.state.metrics["auc"] = scores[int(network.weight.item())]

    saver.attach(engine)
    return engine


def run(saver: BestModelSaver, network: nn.Linear, scores: list[float], first: int = 0) -> None:
    engine = validation(saver, network, scores)
    for index in range(first, len(scores)):
        network.weight.data.fill_(index)
        engine.run([0])


def saved(path: Path) -> float:
    return load_student(nn.Linear(1, 1), path).weight.item()


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.5, 0.9, 0.7], 1), ([0.5, 0.5], 0), ([math.nan, 0.4, math.nan], 1), ([-2.0, -1.0, -3.0], 1)],
)
def test_the_network_of_the_best_validation_is_kept(scores: list[float], best: int, tmp_path: Path) -> None:
    network, path = nn.Linear(1, 1), tmp_path / "new" / "model.pt"
    run(BestModelSaver(path, network, ONE, "auc"), network, scores)
    assert saved(path) == best
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]
    assert describe_student(path) == ONE


def test_a_resumed_run_knows_what_was_best(tmp_path: Path) -> None:
    network, path, scores = nn.Linear(1, 1), tmp_path / "model.pt", [0.5, 0.9, 0.7, 0.95]
    first = BestModelSaver(path, network, ONE, "auc")
    run(first, network, scores[:2])
    for end, best in ((3, 1), (4, 3)):
        resumed = BestModelSaver(path, network, ONE, "auc")
        resumed.load_state_dict(first.state_dict())
        run(resumed, network, scores[:end], first=2)
        assert saved(path) == best


def test_weights_that_are_not_finite_never_replace_good_ones(tmp_path: Path) -> None:
    network, path = nn.Linear(1, 1), tmp_path / "model.pt"
    saver = BestModelSaver(path, network, ONE, "auc")
    run(saver, network, [0.5])
    network.bias.data.fill_(math.inf)
    with pytest.raises(CheckpointError, match="model is not saved: its bias has NaN"):
        run(saver, network, [0.5, 0.6], first=1)
    assert saved(path) == 0
