# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from monai.losses import (
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    HausdorffDTLoss,
    TverskyLoss,
)
from monai.metrics import DiceMetric
from monai.networks import one_hot
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError, StudentOutputError
from monai_gmcl.labels import labels_for_loss
from monai_gmcl.tasks import Segmentation, choose_task

SIZES = [(9, 8), (5, 6, 4)]


def random_batch(size: tuple[int, ...], classes: int = 3, n: int = 4) -> tuple[Tensor, Tensor]:
    """Outputs (n, classes, *size) and masks (n, 1, *size); the last mask is all background."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(n, classes, *size, generator=generator, dtype=torch.float64)
    masks = torch.randint(max(classes, 2), (n, 1, *size), generator=generator)
    masks[-1] = 0
    return outputs, masks


softmax: dict[str, Any] = {"to_onehot_y": True, "softmax": True}
OF_CLASSES: dict[str, Callable[..., Tensor]] = {
    "Dice": DiceLoss(**softmax),
    "Dice without background": DiceLoss(include_background=False, **softmax),
    "Dice with class weights": DiceLoss(weight=torch.tensor([1.0, 2.0, 5.0]), **softmax),
    "Dice, a sum": DiceLoss(reduction="sum", **softmax),
    "Dice that leaves out pixels": DiceLoss(ignore_index=2, **softmax),
    "Dice and cross-entropy": DiceCELoss(**softmax),
    "Dice and focal": DiceFocalLoss(**softmax),
    "generalized Dice": GeneralizedDiceLoss(**softmax),
    "Tversky": TverskyLoss(alpha=0.3, beta=0.7, **softmax),
    "focal": FocalLoss(to_onehot_y=True, use_softmax=True),
    "focal, a sum": FocalLoss(to_onehot_y=True, use_softmax=True, reduction="sum"),
    "cross-entropy": nn.CrossEntropyLoss(),
    "weighted cross-entropy": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double(), label_smoothing=0.1),
    "cross-entropy that leaves out pixels": nn.CrossEntropyLoss(ignore_index=1),
    "a function": lambda o, y: DiceLoss(**softmax)(o, y) + nn.functional.cross_entropy(o, y[:, 0].long()),
}
OF_CHANNELS: dict[str, Callable[..., Tensor]] = {
    "Dice": DiceLoss(sigmoid=True),
    "Dice and cross-entropy": DiceCELoss(sigmoid=True),
    "focal": FocalLoss(),
    "Tversky": TverskyLoss(sigmoid=True),
    "binary cross-entropy": nn.BCEWithLogitsLoss(),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", OF_CLASSES)
def test_the_losses_of_images_average_to_the_loss_of_the_batch(name: str, size: tuple[int, ...]) -> None:
    loss, (outputs, masks) = OF_CLASSES[name], random_batch(size)
    for kind in (torch.int64, torch.uint8, torch.float32):
        task = choose_task(loss, masks.to(kind), outputs)
        losses = task.losses(outputs, masks.to(kind))
        together = loss(outputs, labels_for_loss(loss, masks))
        assert losses.shape == (4,)
        torch.testing.assert_close(losses.mean(), together)
        torch.testing.assert_close(task.loss(outputs, masks.to(kind)), together)


@pytest.mark.parametrize("name", OF_CHANNELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_so_they_do_for_channels_that_overlap(name: str, channels: int) -> None:
    loss, (outputs, _) = OF_CHANNELS[name], random_batch((9, 8), channels)
    masks = (torch.rand(outputs.shape, generator=torch.Generator().manual_seed(1)) > 0.6).double()
    torch.testing.assert_close(choose_task(loss, masks, outputs).losses(outputs, masks).mean(), loss(outputs, masks))


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("loss", [DiceLoss, GeneralizedDiceLoss, TverskyLoss, DiceCELoss])
def test_a_loss_that_pools_the_batch_is_taken_of_each_image_alone(loss: Any, classes: int) -> None:
    # Four classes as four images: nothing in the shapes tells them apart.
    outputs, masks = random_batch((9, 8), classes)
    pooled, alone = loss(batch=True, **softmax), loss(**softmax)
    expected = [alone(outputs[i : i + 1], masks[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(choose_task(pooled, masks, outputs).losses(outputs, masks), torch.stack(expected))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.float32])
def test_correctness_is_the_mean_dice_of_the_classes_that_are_there(size: tuple[int, ...], kind: torch.dtype) -> None:
    outputs, masks = random_batch(size)
    metric = DiceMetric(include_background=False, reduction="none")
    expected = metric(one_hot(outputs.argmax(1, keepdim=True), 3), one_hot(masks, 3)).nanmean(1)
    task = choose_task(DiceLoss(**softmax), masks.to(kind), outputs)
    found = task.correctness(outputs, masks.to(kind))
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found.isnan().tolist() == [False, False, False, True]
    one_hot_task = choose_task(DiceLoss(softmax=True), one_hot(masks, 3), outputs)
    torch.testing.assert_close(one_hot_task.correctness(outputs, one_hot(masks, 3)), expected, equal_nan=True)


def test_answers_tell_the_classes_of_each_image_and_their_dice() -> None:
    masks = torch.tensor([[0, 0, 2, 2], [1, 1, 1, 1], [255, 255, 1, 0]]).view(3, 1, 2, 2)
    outputs = one_hot(torch.tensor([[0, 2, 2, 2], [1, 0, 1, 0], [2, 2, 1, 0]]).view(3, 1, 2, 2), 3)
    task = choose_task(nn.CrossEntropyLoss(ignore_index=255), masks, outputs)
    classes, dice, _ = task.answers(outputs, masks)
    assert classes.tolist() == [[0, -1, 2], [-1, 1, -1], [0, 1, -1]]
    nan = float("nan")
    expected = torch.tensor([[2 / 3, nan, 4 / 5], [nan, 2 / 3, nan], [1, 1, nan]])
    torch.testing.assert_close(dice, expected, equal_nan=True)


@pytest.mark.parametrize("channels", [1, 2])
def test_where_channels_overlap_the_background_is_what_none_covers(channels: int) -> None:
    masks = torch.tensor([[[1.0, 1, 0, 0], [0, 1, 1, 0]], [[0.0, 0, 0, 0], [0, 0, 0, 0]]])[:, :channels]
    masks = masks.view(2, channels, 2, 2)
    task = choose_task(DiceLoss(sigmoid=True), masks, masks)
    classes, dice, _ = task.answers(masks * 2 - 1, masks)
    assert classes.tolist() == [list(range(channels + 1)), [0] + [-1] * channels]
    assert task.correctness(masks * 2 - 1, masks).tolist()[0] == 1 and dice[:, 0].tolist() == [1, 1]
    torch.testing.assert_close(
        task.correctness(torch.ones_like(masks), masks)[0], torch.tensor(2 / 3), check_dtype=False
    )


SURE: dict[str, tuple[Callable[..., Tensor], bool]] = {
    "Dice of probabilities": (DiceLoss(), True),
    "Tversky of probabilities": (TverskyLoss(), True),
    "binary cross-entropy of probabilities": (nn.BCELoss(), True),
    "squares": (nn.MSELoss(), True),
    "Dice": (DiceLoss(sigmoid=True), False),
    "Dice and cross-entropy": (DiceCELoss(sigmoid=True), False),
    "Hausdorff": (HausdorffDTLoss(sigmoid=True), False),
    "absolute differences": (nn.L1Loss(), True),
    "focal": (FocalLoss(), False),
    "binary cross-entropy": (nn.BCEWithLogitsLoss(), False),
}


@pytest.mark.parametrize("name", SURE)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_tells_whether_outputs_are_logits_or_probabilities(name: str, channels: int) -> None:
    loss, probabilities = SURE[name]
    outputs = random_batch((9, 8), channels)[0]
    task = choose_task(loss, torch.zeros_like(outputs), outputs.sigmoid() if probabilities else outputs)
    assert isinstance(task, Segmentation) and task.overlapping
    assert task.threshold == (0.5 if probabilities else 0.0)


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (DiceLoss(softmax=True), lambda o: o),
        (DiceLoss(), partial(torch.softmax, dim=1)),
        (nn.CrossEntropyLoss(), lambda o: o),
        (FocalLoss(use_softmax=True), lambda o: o),
    ],
)
def test_one_hot_masks_have_one_class_a_pixel_under_a_softmax(loss: Any, outputs: Any) -> None:
    given, masks = random_batch((9, 8))
    task = choose_task(loss, one_hot(masks, 3), outputs(given))
    assert isinstance(task, Segmentation) and not task.overlapping


WRONG_LABELS: dict[str, tuple[Tensor, str]] = {
    "no channel": (torch.zeros(2, 8, 8), r"Expected masks .*got \(2, 8, 8\).*EnsureChannelFirstd"),
    "as saved in a picture": (torch.tensor([0, 255]).view(2, 1, 1, 1), "from 0 to 2, .*from 0 to 255.*MapLabelValued"),
    "below 0": (torch.tensor([0.0, -1]).view(2, 1, 1, 1), "from 0 to 2, .*from -1 to 0"),
    "not a number": (torch.tensor([0.0, float("nan")]).view(2, 1, 1, 1), "from 0 to 2, .*to nan"),
    "channels of classes": (torch.full((2, 3, 4, 4), 2), r"from 0 to 1, got \(2, 3, 4, 4\)"),
}


@pytest.mark.parametrize("name", WRONG_LABELS)
def test_masks_that_cannot_be_classes_are_refused(name: str) -> None:
    labels, message = WRONG_LABELS[name]
    with pytest.raises(LabelError, match=message):
        Segmentation().check_labels(labels, 3)


def test_pixels_that_the_loss_leaves_out_are_accepted() -> None:
    masks = torch.tensor([0, 255, 2, 1]).view(1, 1, 2, 2)
    task = Segmentation(nn.CrossEntropyLoss(ignore_index=255))
    task.check_labels(masks, 3)
    task.check_outputs(torch.zeros(1, 3, 2, 2), masks, 3)
    task.check_labels(torch.full((1, 1, 2, 2), 255), 3)


LEAVES_OUT: dict[str, tuple[Callable[..., Tensor], bool]] = {
    "cross-entropy": (nn.CrossEntropyLoss(ignore_index=255), True),
    "weighted cross-entropy": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0])), True),
    "Dice": (DiceLoss(ignore_index=255, **softmax), True),
    "focal": (FocalLoss(to_onehot_y=True, use_softmax=True, ignore_index=-1), True),
    "a function": (lambda o, y: nn.functional.cross_entropy(o, y[:, 0].long()), True),
    "Dice and cross-entropy": (DiceCELoss(**softmax), False),
    "Dice without": (DiceLoss(**softmax), False),
    "generalized Dice": (GeneralizedDiceLoss(**softmax), False),
}


@pytest.mark.parametrize("name", LEAVES_OUT)
def test_masks_with_pixels_that_the_loss_cannot_leave_out_are_refused(name: str) -> None:
    loss, leaves_out = LEAVES_OUT[name]
    outputs, masks = random_batch((9, 8))
    task = Segmentation(loss)
    masks[0, 0, 0, 0], masks[1] = task.ignored, task.ignored
    if not leaves_out:
        with pytest.raises(LabelError, match="got -100, and the loss does not ignore such pixels"):
            task.check_outputs(outputs, masks, 3)
        return
    task.check_outputs(outputs, masks, 3)
    losses = task.losses(outputs.float(), masks)
    assert torch.isfinite(losses).all() and losses[1] == 0


def test_a_loss_that_cannot_be_asked_is_trusted() -> None:
    outputs, masks = random_batch((9, 8))
    masks[0] = -100
    task = Segmentation(lambda o, y: o.mean() if len(o) == 4 else torch.ones(2) @ torch.ones(3))
    task.check_outputs(outputs, masks, 3)
    proposals, confidence, share = task.leave_out_unsure(masks[1:], torch.zeros(3, 1, 9, 8))
    assert torch.equal(proposals, masks[1:]) and share is not None and not share.any() and not confidence.any()


def test_an_image_without_a_known_pixel_has_no_loss_where_losses_are_taken_image_by_image() -> None:
    class Sum(nn.Module):
        ignore_index = 255

        def forward(self, outputs: Tensor, masks: Tensor) -> Tensor:
            dice, entropy = DiceLoss(ignore_index=255, **softmax), nn.CrossEntropyLoss(ignore_index=255)
            return dice(outputs, masks) + entropy(outputs, masks[:, 0])

    outputs, masks = random_batch((9, 8))
    masks[1], masks[0, ..., 0] = 255, 255
    losses = Segmentation(Sum()).losses(outputs.requires_grad_(), masks)
    (gradient,) = torch.autograd.grad(losses.sum(), outputs)
    assert losses[1] == 0 and (losses[[0, 2, 3]] > 0).all()
    assert not gradient[1].any() and not gradient[0, ..., 0].any() and gradient[0, ..., 1].any()


@pytest.mark.parametrize(
    ("loss", "padding", "kind", "message"),
    [
        (DiceCELoss(**softmax), 0, torch.uint8, None),
        (DiceCELoss(**softmax), 255, torch.uint8, "0 to 2, got 255"),
        (nn.CrossEntropyLoss(ignore_index=255), 255, torch.uint8, None),
        (nn.CrossEntropyLoss(), 255, torch.uint8, "0 to 2, or -100, which the loss ignores, got 255"),
        (nn.CrossEntropyLoss(), -100, torch.uint8, "cannot have the value -100.*EnsureTyped"),
        (nn.CrossEntropyLoss(), -100, torch.float32, None),
        (DiceLoss(softmax=True), 255, None, "0 to 1, got 255"),
        (DiceLoss(softmax=True), 0, None, None),
    ],
)
def test_what_a_teacher_pads_masks_with_is_a_value_that_the_loss_takes(
    loss: Any, padding: int, kind: torch.dtype | None, message: str | None
) -> None:
    outputs, masks = random_batch((9, 8))
    masks = one_hot(masks, 3) if kind is None else masks.to(kind)
    task = choose_task(loss, masks, outputs)
    with pytest.raises(LabelError, match=f"label_padding: .*{message}") if message else nullcontext():
        task.check_padding(padding, outputs, masks)


MASKS = torch.tensor([0, 1, 2, 1]).view(1, 1, 2, 2)
WRONG_OUTPUTS: dict[str, tuple[object, Tensor, str]] = {
    "deep supervision": (torch.zeros(1, 2, 3, 2, 2), MASKS, r"got \(1, 2, 3, 2, 2\).*deep_supervision=False"),
    "a list": ([torch.zeros(1, 3, 2, 2)], MASKS, "got a list.*deep_supervision=False"),
    "of another size": (torch.zeros(1, 3, 4, 4), MASKS, r"size of its masks \(1, 1, 2, 2\), got \(1, 3, 4, 4\)"),
    "of whole images": (torch.zeros(1, 3), MASKS, r"got \(1, 3\)"),
    "as many as no teacher": (torch.zeros(1, 4, 2, 2), MASKS, "3 channels, as many as the teacher has num_classes"),
    "as many as no mask": (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, 2), "2 channels, as many as its masks have"),
}


@pytest.mark.parametrize("name", WRONG_OUTPUTS)
def test_outputs_that_do_not_fit_their_masks_are_refused(name: str) -> None:
    outputs, masks, message = WRONG_OUTPUTS[name]
    with pytest.raises(StudentOutputError, match=message):
        Segmentation().check_outputs(outputs, masks, 3)


def test_a_class_needs_an_output_and_classes_are_whole_numbers() -> None:
    with pytest.raises(LabelError, match="from 0 to 1, as the student has 1 output"):
        Segmentation().check_outputs(torch.zeros(1, 1, 2, 2), MASKS, None)
    with pytest.raises(LabelError, match=r"got the value 0\.5. Resample masks with mode='nearest'"):
        Segmentation().check_outputs(torch.zeros(1, 3, 2, 2), MASKS / 2, 3)


def test_targets_of_a_regression_are_refused() -> None:
    outputs = random_batch((9, 8), 1)[0]
    with pytest.raises(LabelError, match=r"such as 0\.3, with a loss of differences \(MSELoss\)"):
        Segmentation(nn.MSELoss()).check(outputs, torch.full_like(outputs, 0.3))
    Segmentation(DiceLoss(sigmoid=True)).check(outputs, torch.full_like(outputs, 0.3))


def test_chance_is_the_share_of_the_classes() -> None:
    masks = torch.tensor([0, 0, 0, 1, 2, 2, 0, 255]).view(2, 1, 2, 2)
    assert Segmentation(nn.CrossEntropyLoss(ignore_index=255)).chance(masks) == pytest.approx((1 / 7 + 2 / 7) / 2)
    shown = one_hot(masks.where(masks < 3, 0), 3)
    assert Segmentation().chance(shown) == pytest.approx((1 / 8 + 2 / 8) / 2)
    assert Segmentation(overlapping=True).chance(shown[:, 1:]) == pytest.approx((1 / 8 + 2 / 8) / 2)


def test_proposals_are_the_likeliest_class_of_each_pixel() -> None:
    outputs = random_batch((9, 8))[0]
    classes, confidences = Segmentation.propose(outputs)
    assert torch.equal(classes, outputs.argmax(1, keepdim=True))
    torch.testing.assert_close(confidences, outputs.softmax(1).amax(1, keepdim=True))
    for channels, overlapping in ((1, False), (3, True)):
        masks, confidences = Segmentation.propose(outputs[:, :channels], overlapping)
        assert torch.equal(masks, (outputs[:, :channels] > 0).float())
        torch.testing.assert_close(confidences, outputs[:, :channels].abs().sigmoid())


@pytest.mark.parametrize("channels", [1, 3])
def test_proposed_classes_that_there_are_not_are_refused_also_late(channels: int) -> None:
    task, proposals, read = Segmentation(), torch.tensor([[[[0, 2], [5, -100]]]]), []
    given = task.check_proposals(proposals, 1, torch.zeros(4, channels, 2, 2), 3, lambda *one: read.append(one))
    # Until the host reads them, the loss gets labels that it takes.
    expected = [[0, 2, 2, -100]] if channels == 1 else [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert given[0].flatten(1).tolist() == expected and given.dtype == torch.float32
    values, verdict = read[0]
    with pytest.raises(LabelError, match="Expected masks with values from 0 to 2.*to 5"):
        verdict(values)
