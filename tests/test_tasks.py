# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.losses import FocalLoss
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.exceptions import LabelError
from monai_gmcl.labels import ignore_index_of
from monai_gmcl.tasks import Classification, MultiLabel, Task, choose_task

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
ONE_HOT = torch.eye(3)[[0, 1, 2, 0, 1, 2]]


class Wrapped(nn.Module):
    """A user's module with a loss inside."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss, self.calls = loss, 0

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        found: Tensor = self.loss(outputs, labels)
        return found


OF_CLASSES: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    "cross-entropy": (nn.CrossEntropyLoss(), LOGITS),
    "weighted, in a module": (Wrapped(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]))), LOGITS),
    "smoothed, in a function": (lambda o, y: functional.cross_entropy(o, y, label_smoothing=0.1), LOGITS),
    "focal with softmax": (FocalLoss(use_softmax=True), LOGITS),
    "divergence of log-probabilities": (
        lambda o, y: functional.kl_div(o, y, reduction="batchmean"),
        LOGITS.log_softmax(1),
    ),
    "likelihood of probabilities": (lambda o, y: -(o.log() * y).sum(1).mean(), LOGITS.softmax(1)),
}
OF_SEVERAL: dict[str, tuple[Callable[..., Tensor], Tensor, float]] = {
    "binary cross-entropy": (nn.BCEWithLogitsLoss(), LOGITS, 0.0),
    "weighted, in a module": (Wrapped(nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))), LOGITS, 0.0),
    "focal": (FocalLoss(), LOGITS, 0.0),
    "of probabilities": (nn.BCELoss(), LOGITS.sigmoid(), 0.5),
    "of probabilities, in a function": (functional.binary_cross_entropy, LOGITS.sigmoid(), 0.5),
    "squares": (nn.MSELoss(), LOGITS, 0.5),
}


@pytest.mark.parametrize("name", OF_CLASSES)
def test_one_hot_labels_under_a_softmax_are_scored_by_the_largest_output(name: str) -> None:
    loss, outputs = OF_CLASSES[name]
    task = choose_task(loss, ONE_HOT, outputs)
    assert type(task) is Classification
    assert torch.equal(task.correctness(outputs, ONE_HOT), (outputs.argmax(1) == ONE_HOT.argmax(1)).float())
    assert task.classes(ONE_HOT).tolist() == [0, 1, 2, 0, 1, 2]
    assert torch.equal(task.correctness(outputs, ONE_HOT.long()), task.correctness(outputs, ONE_HOT))


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_labels_each_for_itself_are_scored_by_the_side_of_each_output(name: str) -> None:
    loss, outputs, threshold = OF_SEVERAL[name]
    task = choose_task(loss, ONE_HOT, outputs)
    assert isinstance(task, MultiLabel) and task.threshold == threshold
    wanted = ((outputs > threshold) == (ONE_HOT > 0.5)).float().mean(1)
    assert torch.equal(task.correctness(outputs, ONE_HOT), wanted)
    assert task.classes(ONE_HOT).tolist() == [0] * 6


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("kind", [torch.float32, torch.int64, torch.bool])
def test_one_logit_is_scored_by_its_side_whatever_the_labels_shape_and_type(shape: tuple[int, ...], kind: Any) -> None:
    outputs, labels = torch.tensor([-1.0, 2.0, 3.0, -4.0]), torch.tensor([0, 1, 0, 1]).to(kind)
    task = choose_task(lambda o, y: functional.binary_cross_entropy_with_logits(o, y.float()), labels, outputs)
    assert task.correctness(outputs.view(shape), labels.view(shape)).tolist() == [1, 1, 0, 0]
    assert task.classes(labels.view(shape)).tolist() == [0, 1, 0, 1]


def test_a_tie_of_a_soft_label_is_right_either_way() -> None:
    labels = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    task = choose_task(nn.CrossEntropyLoss(), labels, LOGITS[:2])
    assert task.correctness(torch.tensor([[0.0, 9.0, 1.0], [0.0, 9.0, 1.0]]), labels).tolist() == [1, 0]


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.HuberLoss(), Wrapped(nn.L1Loss()), lambda o, y: (o - y).square().mean()]
)
@pytest.mark.parametrize("columns", [1, 3])
def test_targets_of_a_regression_between_0_and_1_are_refused(loss: Any, columns: int) -> None:
    outputs = LOGITS[:, :columns]
    task = choose_task(loss, torch.zeros_like(outputs), outputs)
    task.check(outputs, torch.ones_like(outputs))
    with pytest.raises(LabelError, match=r"such as 0\.3, with a loss of differences .*Regression is not supported"):
        task.check(outputs, torch.full_like(outputs, 0.3))


def test_soft_labels_each_for_itself_are_accepted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    task = choose_task(nn.BCEWithLogitsLoss(), ONE_HOT, LOGITS)
    for _ in range(2):
        task.check(LOGITS, ONE_HOT * 0.9 + 0.05)
    assert [record.message[:40] for record in caplog.records] == ["Labels between 0 and 1 are read as soft "]
    caplog.clear()
    choose_task(nn.CrossEntropyLoss(), ONE_HOT, LOGITS).check(LOGITS, ONE_HOT * 0.9 + 0.1 / 3)
    assert not caplog.records


def test_asking_a_loss_what_it_is_leaves_it_as_it_was() -> None:
    loss = Wrapped(nn.CrossEntropyLoss())
    choose_task(loss, ONE_HOT, LOGITS)
    assert loss.calls == 0


def test_the_ignored_index_is_that_of_the_loss_or_of_one_inside_it() -> None:
    assert ignore_index_of(nn.CrossEntropyLoss(ignore_index=2)) == 2
    assert ignore_index_of(Wrapped(nn.CrossEntropyLoss(ignore_index=255))) == 255
    assert ignore_index_of(functional.cross_entropy) == -100
    task = Classification(nn.CrossEntropyLoss(ignore_index=2))
    assert task.classes(torch.tensor([0, 1, 2])).tolist() == [0, 1, -1]


def test_integer_labels_that_are_not_one_hot_do_not_go_with_cross_entropy() -> None:
    several = torch.tensor([[1, 1, 0], [0, 0, 1]])
    with pytest.raises(LabelError, match=r"to be one-hot, got \[1, 1, 0\].*BCEWithLogitsLoss"):
        choose_task(nn.CrossEntropyLoss(), several, LOGITS[:2]).check(LOGITS[:2], several)
    of_logits = MultiLabel(lambda o, y: functional.binary_cross_entropy_with_logits(o, y.float()))
    of_logits.check(LOGITS[:2], several)


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        (Classification(), torch.tensor([0, 1, 0, 1]), 0.5),
        (Classification(), torch.tensor([0, 0, 0, 2]), 10 / 16),
        (Classification(), torch.tensor([[0], [-100], [1]]), 0.5),
        (Classification(), torch.tensor([-100, -100]), 0.0),
        (Classification(), ONE_HOT, 1 / 3),
        (MultiLabel(), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 0.75),
        (MultiLabel(), torch.tensor([[1.0], [1.0]]), 1.0),
        (MultiLabel(), torch.tensor([0, 1, 1, 1]), 10 / 16),
    ],
)
def test_chance_is_a_guess_by_the_shares_of_the_classes(task: Task, labels: Tensor, expected: float) -> None:
    assert task.chance(labels) == pytest.approx(expected)


def test_proposals_are_the_likeliest_labels_and_how_sure_they_are() -> None:
    classes, confidence = Classification.propose(torch.tensor([[0.0, 0.0, 9.0], [1.0, 0.0, 0.0]]))
    assert classes.tolist() == [2, 0] and confidence[0] > 0.99 and 1 / 3 < confidence[1] < 0.6
    labels, confidence = MultiLabel.propose(torch.tensor([[9.0, -9.0], [0.0, 9.0]]))
    assert labels.tolist() == [[1, 0], [0, 1]] and confidence.tolist() == pytest.approx([1, 0.75], abs=1e-3)


def test_proposals_take_the_shape_and_type_of_given_labels() -> None:
    column = Classification().check_proposals(torch.tensor([1, 0, 2]), 3, torch.zeros(5, 1, dtype=torch.int32), 3)
    assert column.dtype == torch.int32 and column.tolist() == [[1], [0], [2]]
    with pytest.raises(LabelError, match=r"Expected proposed labels \(3,\) of torch.int64.*multi_label=True"):
        Classification().check_proposals(torch.zeros(3, 2), 3, torch.tensor([0, 1]), 2)
    with pytest.raises(LabelError, match="from 0 to 2"):
        Classification().check_proposals(torch.tensor([3]), 1, torch.tensor([0]), 3)


def test_the_mean_of_the_losses_of_images_is_the_loss_and_a_loss_that_learns_does_not_learn_from_them() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return self.scale * functional.cross_entropy(outputs, labels)

    task, outputs = Classification(Scaled()), LOGITS.clone().requires_grad_()
    labels = ONE_HOT.argmax(1)
    losses = task.losses(outputs, labels)
    assert losses.shape == (6,) and torch.allclose(losses.mean(), task.loss(outputs, labels))
    losses.sum().backward()
    assert outputs.grad is not None and task.loss_function.scale.grad is None  # type: ignore[attr-defined]
