# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl import GMCLTrainer
from monai_gmcl.engines.student_loss import StudentLoss
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.per_image_loss import per_image_loss
from monai_gmcl.tasks import Classification, MultiLabel

Build = Callable[..., GMCLTrainer]
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
    assert caplog.text.count("over the single images of a lesson is") == 1
    assert "CrossEntropyLoss(weight=...), or give yours an attribute reduction" in caplog.text
    run.loss_function = hardest
    run.state.max_epochs = 3
    run.run()
    assert caplog.text.count("over the single images of a lesson is") == 2


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(weight=WEIGHT), Weighted(), by_hand, functional.cross_entropy])
def test_a_loss_that_they_add_up_to_is_not(loss: Any, trainer: Build, caplog: pytest.LogCaptureFixture) -> None:
    trainer(loss_function=loss).run()
    assert "over the single images" not in caplog.text


def test_images_of_one_class_do_not_tell(caplog: pytest.LogCaptureFixture) -> None:
    loss = StudentLoss(Unnormalized())
    for labels in (torch.ones(8, dtype=torch.int64), LABELS):
        caplog.clear()
        loss.compare(loss.of_each(OUTPUTS, labels), OUTPUTS, labels)
        assert bool(caplog.records) == (labels is LABELS)


def test_a_loss_that_needs_more_than_one_image_is_refused_with_a_remedy(trainer: Build) -> None:
    def needing(outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels, reduction="none").topk(2)[0].mean()

    with pytest.raises(ConfigurationError, match=r"needing fails on one image alone: .*reduction='none'"):
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
