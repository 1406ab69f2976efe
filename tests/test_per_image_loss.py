# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from monai.losses import FocalLoss
from torch import Tensor, nn
from torch.nn import functional as F

from monai_gmcl.per_image_loss import per_image_loss

WEIGHT = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 2, 1, 0])
IGNORED = torch.tensor([0, -100, 2, 1, -100])
MULTI = torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.float64)
SHARES = torch.tensor([[0.2, 0.5, 0.3], [1, 0, 0], [0, 0.5, 0.5], [0.1, 0.1, 0.8], [0, 1, 0]], dtype=torch.float64)


class OwnLoss(nn.modules.loss._Loss):
    """A user's loss that inherits a reduction and does not heed it."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels, label_smoothing=0.2)


class OwnRows(nn.Module):
    """A user's loss whose ``reduction="none"`` gives a table of other rows than images."""

    reduction = "mean"

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        by_class = F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").mean(0)
        return by_class.mean() if self.reduction == "mean" else by_class


CrossEntropy = partial(nn.CrossEntropyLoss, label_smoothing=0.1)
CASES: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    "cross-entropy": (nn.CrossEntropyLoss(), CLASSES),
    "class weights": (nn.CrossEntropyLoss(weight=WEIGHT), CLASSES),
    "label smoothing": (CrossEntropy(), CLASSES),
    "smoothing and weights": (CrossEntropy(weight=WEIGHT), CLASSES),
    "ignored labels": (nn.CrossEntropyLoss(), IGNORED),
    "ignored labels and weights": (CrossEntropy(weight=WEIGHT), IGNORED),
    "an ignored label past the classes": (
        nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=255),
        IGNORED.where(IGNORED >= 0, 255),
    ),
    "an ignored class": (nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=1), CLASSES),
    "shares of classes": (CrossEntropy(weight=WEIGHT), SHARES),
    "weights, sum": (nn.CrossEntropyLoss(weight=WEIGHT, reduction="sum"), CLASSES),
    "weights, none": (nn.CrossEntropyLoss(weight=WEIGHT, reduction="none"), CLASSES),
    "multi-label": (nn.BCEWithLogitsLoss(), MULTI),
    "positive weights": (nn.BCEWithLogitsLoss(weight=WEIGHT.flip(0), pos_weight=WEIGHT), MULTI),
    "positive weights, sum": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT, reduction="sum"), MULTI),
    "positive weights, none": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT, reduction="none"), MULTI),
    "one logit": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT[:1]), MULTI[:, :1]),
    "focal": (FocalLoss(to_onehot_y=True, use_softmax=True), CLASSES[:, None]),
    "focal, weights": (FocalLoss(to_onehot_y=True, gamma=1.5, weight=WEIGHT), CLASSES[:, None]),
    "focal, no background": (FocalLoss(to_onehot_y=True, include_background=False), CLASSES[:, None]),
    "focal, none": (FocalLoss(to_onehot_y=True, reduction="none"), CLASSES[:, None]),
    "focal, multi-label": (FocalLoss(), MULTI),
    "a function": (F.cross_entropy, CLASSES),
    "a function without reduction": (partial(F.cross_entropy, reduction="none"), CLASSES),
    "batch mean": (lambda p, y: nn.KLDivLoss(reduction="batchmean")(p.log_softmax(1), y), SHARES),
    "a loss that does not heed its reduction": (OwnLoss(), CLASSES),
    "a loss that averages over images": (OwnRows(), MULTI),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Callable[..., Tensor], Tensor, Tensor]:
    """A loss function, outputs and labels."""
    function, labels = CASES[request.param]
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(5, labels.shape[1] if labels.is_floating_point() else 3, generator=generator).double()
    return function, outputs.requires_grad_(), labels


def test_the_mean_over_images_is_the_loss_and_has_its_gradient(case: Any) -> None:
    function, outputs, labels = case
    wanted = function(outputs, labels).mean()
    losses = per_image_loss(function, outputs, labels)
    assert losses.shape == (5,)
    # MONAI's FocalLoss rounds to float32.
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if wanted.dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(losses.mean(), wanted, **tolerance)
    found = torch.autograd.grad(losses.mean(), outputs)
    torch.testing.assert_close(found, torch.autograd.grad(wanted, outputs), **tolerance)


def test_the_loss_of_an_image_is_that_images_alone(case: Any) -> None:
    function, outputs, labels = case
    losses = per_image_loss(function, outputs, labels)
    for i, loss in enumerate(losses):
        (gradient,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        others = gradient.clone()
        others[i] = 0
        assert not others.any()


def test_the_users_loss_function_stays_as_it_is() -> None:
    function = nn.CrossEntropyLoss(weight=WEIGHT)
    per_image_loss(function, torch.zeros(5, 3, dtype=torch.float64), CLASSES)
    assert function.reduction == "mean" and function.weight is WEIGHT


def test_a_batch_of_ignored_labels_gives_nan_as_torchs_loss_does() -> None:
    losses = per_image_loss(nn.CrossEntropyLoss(), torch.zeros(2, 3), torch.tensor([-100, -100]))
    assert losses.isnan().all()


def test_half_precision_outputs_meet_class_weights_of_full_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = per_image_loss(
            nn.CrossEntropyLoss(weight=WEIGHT.float()), torch.zeros(5, 3, dtype=torch.bfloat16), CLASSES
        )
    assert losses.mean().item() == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-2)
