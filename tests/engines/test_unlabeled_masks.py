# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Proposed masks: pixel by pixel, from unlabeled images of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.losses import DiceCELoss, DiceLoss
from monai.networks import one_hot
from monai.networks.nets import UNet
from torch import Tensor, nn

from monai_gmcl import GMCLTrainer, LookAheadWeighting, PseudoLabeler, UniformWeighting
from monai_gmcl.engines import GMCLEvents
from monai_gmcl.exceptions import LabelError
from monai_gmcl.lesson import Lesson
from monai_gmcl.teachers import PolicyTeacher

SOFTMAX: dict[str, Any] = {"to_onehot_y": True, "softmax": True}


class Sum(nn.Module):
    """Two losses, both of which leave out pixels; it is called image by image."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(ignore_index=255, **SOFTMAX)
        self.cross_entropy = nn.CrossEntropyLoss(ignore_index=255)

    def forward(self, outputs: Tensor, masks: Tensor) -> Tensor:
        return self.dice(outputs, masks) + self.cross_entropy(outputs, masks[:, 0].long())


class ByBrightness(nn.Module):
    """A first student: classes at .1, .5 and .9, unsure between them."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        if self.channels < 3:
            return 20 * (images - torch.tensor([0.3, 0.7])[: self.channels].view(-1, 1, 1))
        return -40 * (images - torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1)) ** 2


LEAVE_OUT: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": nn.CrossEntropyLoss(ignore_index=255),
    "cross-entropy, by default": nn.CrossEntropyLoss(),
    "Dice": DiceLoss(ignore_index=255, **SOFTMAX),
    "a sum": Sum(),
}
KEEP: dict[str, tuple[Callable[..., Tensor], int]] = {
    "Dice and cross-entropy": (DiceCELoss(**SOFTMAX), 3),
    "one-hot masks": (DiceLoss(softmax=True), 3),
    "overlapping channels": (nn.BCEWithLogitsLoss(), 2),
    "one output": (DiceCELoss(sigmoid=True), 1),
}


def labeled(kind: torch.dtype, channels: int | None = None) -> list[tuple[Tensor, Tensor]]:
    masks = torch.randint(3, (2, 4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = 0.1 + 0.4 * masks
    if channels is not None:
        masks = torch.stack([one_hot(batch, 3)[:, -channels:] for batch in masks])
    return list(zip(images, masks.to(kind), strict=True))


def foreign() -> list[Tensor]:
    """Noise, black, gray and white images, and one that the student is sure of nowhere."""
    noise = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return [torch.cat([noise, *(torch.full((1, 1, 8, 8), value) for value in (0.0, 0.5, 1.0, 0.3))])]


def run(
    loss: Callable[..., Tensor], batches: list[tuple[Tensor, Tensor]], labeler: Any, outputs: int, **options: Any
) -> list[Lesson]:
    """Train a small U-Net; return its lessons."""
    torch.manual_seed(0)
    network = UNet(2, 1, outputs, (4, 8), (2,), num_res_units=1)
    teacher = PolicyTeacher(2, 1, outputs)
    trainer = GMCLTrainer(
        "cpu", 2, batches, network, torch.optim.Adam(network.parameters(), 1e-2), loss, teacher=teacher,
        teacher_optimizer=teacher.optimizer(), unlabeled_data_loader=foreign(), label_proposal=labeler, seed=0,
        **options,
    )  # fmt: skip
    lessons: list[Lesson] = []

    @trainer.on(GMCLEvents.LESSON_COMPLETED)
    def keep(engine: Engine) -> None:
        lesson = engine.state.lesson
        assert (
            torch.isfinite(lesson.losses).all() and torch.isfinite(lesson.weights).all() and lesson.weights.min() >= 0
        )
        lessons.append(lesson)

    trainer.run()
    assert len(lessons) >= 3 and all(torch.isfinite(p).all() for p in (*network.parameters(), *teacher.parameters()))
    return lessons


@pytest.mark.parametrize(
    ("kind", "weighting"),
    [(torch.uint8, UniformWeighting), (torch.int64, LookAheadWeighting), (torch.float32, UniformWeighting)],
)
@pytest.mark.parametrize("name", LEAVE_OUT)
def test_unsure_pixels_get_the_index_that_the_loss_ignores(name: str, kind: torch.dtype, weighting: Any) -> None:
    loss, labeler = LEAVE_OUT[name], PseudoLabeler(network=ByBrightness(), pixel_threshold=0.8)
    lesson = run(loss, labeled(kind), labeler, 3, weighting=weighting())[-1]
    confidences, classes = ByBrightness()(foreign()[0]).softmax(1).max(1, keepdim=True)
    ignored = -100 if "default" in name else 255
    assert lesson.source_labels is not None and lesson.sure_share is None
    proposals = lesson.source_labels[lesson.num_labeled :]
    assert torch.equal(proposals.long(), classes.where(confidences >= 0.8, ignored))
    left_out = (proposals == ignored).flatten(1).float().mean(1)
    assert 0 < left_out[0] < 1 and left_out[1:].tolist() == [0, 0, 0, 1]
    assert lesson.losses[-1] == 0
    if weighting is UniformWeighting:
        assert lesson.weights.tolist() == [1] * 9


@pytest.mark.parametrize("name", KEEP)
def test_where_no_pixel_can_be_left_out_an_image_weighs_as_much_as_its_share_of_sure_ones(name: str) -> None:
    loss, channels = KEEP[name]
    labeler = PseudoLabeler(network=ByBrightness(channels), pixel_threshold=0.8, multi_label=channels == 2)
    batches = labeled(torch.float32, None if "cross" in name else channels)
    lesson = run(loss, batches, labeler, channels, weighting=UniformWeighting())[-1]
    outputs = ByBrightness(channels)(foreign()[0])
    sure = outputs.softmax(1).amax(1) >= 0.8 if channels == 3 else (outputs.abs().sigmoid() >= 0.8).all(1)
    expected = torch.cat([torch.ones(4), sure.flatten(1).float().mean(1)])
    torch.testing.assert_close(lesson.weights, expected)
    assert lesson.weights[-1] == 0 < lesson.weights[4] < 1
    assert lesson.source_labels is not None and set(lesson.source_labels.unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("threshold", [0.5, 1.0])
@pytest.mark.parametrize("name", [*LEAVE_OUT, *KEEP])
def test_foreign_and_empty_images_are_weighed_by_the_look_ahead(name: str, threshold: float) -> None:
    loss, channels = KEEP[name] if name in KEEP else (LEAVE_OUT[name], 3)
    indices = name in LEAVE_OUT or "and cross" in name
    labeler = PseudoLabeler(pixel_threshold=threshold, multi_label=channels == 2)
    lessons = run(loss, labeled(torch.float32, None if indices else channels), labeler, channels)
    for lesson in lessons[1:]:
        mean = float((lesson.weights / (1 if lesson.sure_share is None else lesson.sure_share.clamp_min(1e-9))).mean())
        assert mean == pytest.approx(1, abs=1e-4) or threshold == 1
    if threshold == 1:
        assert all(lesson.weights[4:].max() == 0 or lesson.losses[4:].max() == 0 for lesson in lessons[1:])


def test_confidences_have_a_value_for_each_image_or_pixel() -> None:
    def wrong(images: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(images), 1, 8, 8), torch.ones(len(images), 8)

    with pytest.raises(LabelError, match=r"confidence of proposed masks \(5, 1, 8, 8\) by image, \(5,\), or by pixel"):
        run(DiceCELoss(**SOFTMAX), labeled(torch.float32), wrong, 3)
