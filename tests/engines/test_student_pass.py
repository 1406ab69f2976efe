# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""A student that computes parts of its pass again on the way back is taught as one that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from monai_gmcl import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    LookAheadWeighting,
    UnrolledHypergradient,
)
from monai_gmcl.exceptions import ConfigurationError

Build = Callable[..., GMCLTrainer]


class Student(nn.Module):
    """Two blocks with dropout; the second is computed again where memory is to be saved."""

    def __init__(self, again: bool, normalization: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), normalization(6), nn.Tanh(), nn.Dropout(0.2))
        self.head = nn.Linear(6, 2)
        self.again = again

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        features = checkpoint(self.second, features, use_reentrant=False) if self.again else self.second(features)
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


def heard(kind: type[Hypergradient], found: list[Tensor]) -> Hypergradient:
    """An estimator that notes what it returns."""

    class Noting(kind):  # type: ignore[misc, valid-type]
        def __call__(self, lessons: Sequence[Any], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            result: tuple[Tensor, Tensor] = super().__call__(lessons, look_ahead)
            found.append(result[0].detach().clone())
            return result

    return Noting()


@pytest.mark.parametrize("kind", [HeadHypergradient, ExactHypergradient])
@pytest.mark.parametrize("options", ["plain", "weighed", "weighed by the head", "meta", "accumulated"])
def test_activation_checkpointing_changes_no_bit(
    kind: type[Hypergradient], options: str, trainer: Build, loader: Callable[..., Any]
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "weighed": {"weighting": LookAheadWeighting()},
        "weighed by the head": {"weighting": LookAheadWeighting(HeadHypergradient())},
        "meta": {"meta_data_loader": loader()},
        "accumulated": {"accumulation_steps": 2},
    }
    signals: dict[bool, list[Tensor]] = {False: [], True: []}
    weights = {}
    for again, found in signals.items():
        torch.manual_seed(0)
        network = Student(again)
        sgd = torch.optim.SGD(network.parameters(), lr=0.5)
        run = trainer(network=network, optimizer=sgd, hypergradient=heard(kind, found), **changes[options])
        run.run()
        weights[again] = [*network.parameters(), *run.teacher.parameters()]
    assert len(signals[True]) > 3 and signals[True][0].any()
    assert all(torch.equal(*pair) for pair in zip(signals[False], signals[True], strict=True))
    assert all(torch.equal(*pair) for pair in zip(weights[False], weights[True], strict=True))


@pytest.mark.parametrize("kind", [ForwardHypergradient, FiniteDifferenceHypergradient, UnrolledHypergradient])
def test_estimators_with_passes_of_their_own_refuse_activation_checkpointing(
    kind: type[Hypergradient], trainer: Build
) -> None:
    run = trainer(network=Student(True), hypergradient=kind(), teacher_interval=2)
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__} takes passes of its own.* Use HeadHypergradient"):
        run.run()


@pytest.mark.parametrize("again", [False, True])
def test_what_is_computed_again_for_a_lesson_leaves_the_running_statistics(again: bool, trainer: Build) -> None:
    network = Student(again, nn.BatchNorm2d)
    run = trainer(network=network)
    run.run()
    # torch's own checkpointing counts a real batch twice, with or without lessons.
    assert network.second[1].num_batches_tracked == run.state.iteration * (2 if again else 1)
