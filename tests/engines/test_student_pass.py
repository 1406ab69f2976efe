# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
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
from monai_gmcl.engines.student_pass import StudentLoss
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.per_image_loss import per_image_loss
from monai_gmcl.tasks import Classification, MultiLabel

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


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        *((name, HeadHypergradient) for name in ("plain", "weighed")),
        *((name, ExactHypergradient) for name in ("weighed by the head", "meta", "accumulated")),
    ],
)
def test_activation_checkpointing_changes_no_bit(
    kind: type[Hypergradient], options: str, trainer: Build, loader: Callable[..., Any], noting: Callable[..., Any]
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "weighed": {"weighting": LookAheadWeighting()},
        "weighed by the head": {"weighting": LookAheadWeighting(HeadHypergradient())},
        "meta": {"meta_data_loader": loader()},
        "accumulated": {"accumulation_steps": 2},
    }
    signals: dict[bool, list[Tensor]] = {}
    weights = {}
    for again in (False, True):
        torch.manual_seed(0)
        network = Student(again)
        sgd = torch.optim.SGD(network.parameters(), lr=0.5)
        estimator = noting(kind)
        run = trainer(network=network, optimizer=sgd, hypergradient=estimator, **changes[options])
        run.run()
        signals[again] = estimator.found
        weights[again] = [*network.parameters(), *run.teacher.parameters()]
    assert len(signals[True]) > 3 and signals[True][0].any()
    assert all(torch.equal(*pair) for pair in zip(signals[False], signals[True], strict=True))
    assert all(torch.equal(*pair) for pair in zip(weights[False], weights[True], strict=True))


@pytest.mark.parametrize("kind", [ForwardHypergradient, FiniteDifferenceHypergradient, UnrolledHypergradient])
def test_estimators_with_passes_of_their_own_refuse_activation_checkpointing(
    kind: type[Hypergradient], trainer: Build
) -> None:
    run = trainer(network=Student(True), hypergradient=kind(), teacher_interval=2)
    with pytest.raises(
        ConfigurationError,
        match=rf"{kind.__name__} passes images through the student with other parameters.* Use HeadHypergradient",
    ):
        run.run()


@pytest.mark.parametrize("again", [False, True])
def test_what_is_computed_again_for_a_lesson_leaves_the_running_statistics(again: bool, trainer: Build) -> None:
    network = Student(again, nn.BatchNorm2d)
    run = trainer(network=network)
    run.run()
    # torch's own checkpointing counts a real batch twice, with or without lessons.
    assert network.second[1].num_batches_tracked == run.state.iteration * (2 if again else 1)


WEIGHT = torch.tensor([1.0, 50.0])
OUTPUTS = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])


class Weighted(nn.Module):
    """A user's module around a weighted loss."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = nn.CrossEntropyLoss(weight=WEIGHT)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = self.loss(outputs, labels)
        return found


def by_hand(outputs: Tensor, labels: Tensor) -> Tensor:
    losses, weights = functional.cross_entropy(outputs, labels, reduction="none"), WEIGHT[labels]
    return (losses * weights).sum() / weights.sum()


def by_counts(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels, weight=1 / torch.bincount(labels, minlength=2).clamp_min(1))


def several(outputs: Tensor, labels: Tensor) -> Tensor:
    weights = torch.where(labels > 0.5, 5.0, 1.0)
    return functional.binary_cross_entropy_with_logits(outputs, labels, weights, reduction="sum") / weights.sum()


def hardest(outputs: Tensor, labels: Tensor) -> Tensor:
    losses = functional.cross_entropy(outputs, labels, reduction="none")
    return losses.topk(min(3, len(losses)))[0].mean()


class Unnormalized(nn.CrossEntropyLoss):
    """Normalizes its weights over the batch, but not in what it gives without reduction."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        losses, weights = functional.cross_entropy(outputs, labels, reduction="none"), WEIGHT[labels]
        return losses * weights if self.reduction == "none" else (losses * weights).sum() / weights.sum()


@pytest.mark.parametrize(
    ("loss", "labels"),
    [(Weighted(), LABELS), (by_hand, LABELS), (by_counts, LABELS), (several, functional.one_hot(LABELS, 2).float())],
)
def test_weights_by_label_are_those_of_the_batch(loss: Any, labels: Tensor) -> None:
    losses = per_image_loss(loss, OUTPUTS, labels)
    torch.testing.assert_close(losses.mean(), loss(OUTPUTS, labels), rtol=1e-4, atol=1e-6)


def test_the_gradient_of_a_weighted_loss_is_that_of_the_batch_too() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    (alone,) = torch.autograd.grad(per_image_loss(Weighted(), outputs, LABELS).mean(), outputs)
    (together,) = torch.autograd.grad(Weighted()(outputs, LABELS), outputs)
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", [hardest, Unnormalized()])
def test_a_loss_that_single_images_do_not_add_up_to_is_said_once(
    loss: Any, trainer: Build, caplog: pytest.LogCaptureFixture
) -> None:
    run = trainer(loss_function=loss)
    run.run()
    assert caplog.text.count("over single images of a lesson is") == 1
    assert "CrossEntropyLoss(weight=...)" in caplog.text and "reduction='none'" in caplog.text
    run.loss_function = hardest
    run.state.max_epochs = 3
    run.run()
    assert caplog.text.count("over single images of a lesson is") == 2


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(weight=WEIGHT), Weighted(), by_hand, functional.cross_entropy])
def test_a_loss_that_they_add_up_to_is_not(loss: Any, trainer: Build, caplog: pytest.LogCaptureFixture) -> None:
    trainer(loss_function=loss).run()
    assert "over single images" not in caplog.text


def test_images_of_one_class_do_not_tell(caplog: pytest.LogCaptureFixture) -> None:
    loss = StudentLoss(Unnormalized())
    for labels in (torch.ones(8, dtype=torch.int64), LABELS):
        caplog.clear()
        loss.compare(loss.of_each(OUTPUTS, labels), OUTPUTS, labels)
        assert bool(caplog.records) == (labels is LABELS)


def test_a_loss_that_needs_more_than_one_image_is_refused_with_a_remedy(trainer: Build) -> None:
    def needing(outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels, reduction="none").topk(2)[0].mean()

    with pytest.raises(ConfigurationError, match=r"needing fails on a single image: .*reduction='none'"):
        trainer(loss_function=needing).run()


def test_the_task_is_chosen_by_the_first_batch_or_given(trainer: Build, tensors: Any, batches: Any) -> None:
    images, labels = tensors()
    loader = batches(images, functional.one_hot(labels, 2).float())
    run = trainer(train_data_loader=loader, max_epochs=1)
    assert run.task is None
    run.run()
    assert type(run.task) is Classification
    given = MultiLabel(threshold=0.1)
    run = trainer(train_data_loader=loader, max_epochs=1, loss_function=nn.BCEWithLogitsLoss(), task=given)
    run.run()
    assert run.task is given and given.loss_function is run.loss_function
