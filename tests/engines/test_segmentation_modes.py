# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks in every way to train: resumed, accumulated, in mixed precision, guarded."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.losses import DiceCELoss, DiceLoss
from monai.networks.nets import UNet
from torch import Tensor, nn

from monai_gmcl import (
    ClassSampler,
    ConfidenceWeighting,
    Curriculum,
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    PseudoLabeler,
    UnrolledHypergradient,
)
from monai_gmcl.handlers import HarmGuard
from monai_gmcl.teachers import PolicyTeacher, Teacher

DICE_CE = DiceCELoss(to_onehot_y=True, softmax=True)


def batches(count: int = 3, size: int = 4, classes: int = 3, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Images with one brightness for each class, and their masks, of which some pixels are not labeled (255)."""
    numbers = torch.Generator().manual_seed(seed)
    masks = torch.randint(classes, (count, size, 1, 2, 2), generator=numbers).repeat_interleave(4, 3)
    masks = masks.repeat_interleave(4, 4)
    images = 0.1 + 0.7 * masks / (classes - 1) + 0.1 * torch.rand(masks.shape, generator=numbers)
    return list(zip(images, masks.to(torch.uint8), strict=True))


def sparse(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Some pixels, and one whole image, are not labeled: 255."""
    found = [(images, masks.clone()) for images, masks in batches(count)]
    for _, masks in found:
        masks[0], masks[1:, ..., :2] = 255, 255
    return found


def small_unet(classes: int = 3) -> UNet:
    return UNet(2, 1, classes, (4, 8), (2,), num_res_units=1, act="SWISH", norm="BATCH", dropout=0.1)


def build(seed: int = 0, **options: Any) -> GMCLTrainer:
    torch.manual_seed(seed)
    network = options.pop("network", None) or small_unet()
    teacher = options.pop("teacher", None) or PolicyTeacher(2, 1, 3)
    optimizer = options.pop("optimizer", torch.optim.Adam)(network.parameters(), 1e-2)
    named = {"max_epochs": 2, "train_data_loader": batches(), "loss_function": DICE_CE, "seed": 3, **options}
    return GMCLTrainer("cpu", network=network, optimizer=optimizer, teacher=teacher,
                       teacher_optimizer=torch.optim.Adam(teacher.parameters(), 0.01), **named)  # fmt: skip


UNLABELED = {"unlabeled_data_loader": lambda: [images for images, _ in batches(2, 3, seed=1)]}
MODES: dict[str, dict[str, Any]] = {
    "bfloat16": {"amp": True},
    "accumulation": {"accumulation_steps": 2, "hypergradient": ExactHypergradient},
    "hardness, errors": {"curriculum": lambda: Curriculum(hardness=0.5, class_sampler=ClassSampler("errors"))},
    "unlabeled": {**UNLABELED, "label_proposal": lambda: PseudoLabeler(pixel_threshold=0.4)},
    "unlabeled, left out, bfloat16": {
        **UNLABELED,
        "label_proposal": lambda: PseudoLabeler(pixel_threshold=0.4),
        "loss_function": lambda: nn.CrossEntropyLoss(ignore_index=255),
        "train_data_loader": sparse,
        "amp": True,
    },
    "unlabeled, weighed by confidence": {**UNLABELED, "weighting": lambda: ConfidenceWeighting(0.4)},
    "not labeled everywhere": {"loss_function": lambda: DiceLoss(ignore_index=255, to_onehot_y=True, softmax=True),
                               "train_data_loader": sparse, "hypergradient": ForwardHypergradient},
    "meta, unrolled": {
        "meta_data_loader": lambda: batches(2, 3, seed=2),
        "hypergradient": lambda: UnrolledHypergradient(2),
        "teacher_interval": 2,
    },
}  # fmt: skip
MADE = ("hypergradient", "curriculum", "label_proposal", "loss_function", "unlabeled_data_loader", "train_data_loader",
        "meta_data_loader", "weighting")  # fmt: skip


def made(mode: str, seed: int = 0) -> GMCLTrainer:
    return build(seed, **{name: value() if name in MADE else value for name, value in MODES[mode].items()})


def parts(trainer: GMCLTrainer) -> dict[str, Any]:
    names = ("network", "teacher", "optimizer", "teacher_optimizer")
    return {**{name: getattr(trainer, name) for name in names}, "trainer": trainer}


def numbers(trainer: GMCLTrainer) -> list[float]:
    output = trainer.state.output[0]
    return [float(output["loss"]), *(float(value) for value in trainer.state.curriculum.values())]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_with_masks_that_was_saved_at_any_iteration_goes_on_bit_for_bit(mode: str) -> None:
    whole, files, log = made(mode), [], []

    @whole.on(Events.ITERATION_COMPLETED)
    def save(engine: Engine) -> None:
        files.append(file := io.BytesIO())
        torch.save({name: part.state_dict() for name, part in parts(whole).items()}, file)
        log.append(numbers(whole))

    whole.run()
    assert len(log) == 6 and whole.student_step.taken == (4 if mode == "accumulation" else 6)
    for iteration in (2, 3, 4):
        resumed = made(mode, seed=9)
        files[iteration - 1].seek(0)
        states = torch.load(files[iteration - 1], weights_only=True)
        for name, part in parts(resumed).items():
            part.load_state_dict(states[name])
        found: list[list[float]] = []
        resumed.add_event_handler(Events.ITERATION_COMPLETED, lambda run, found=found: found.append(numbers(run)))
        resumed.run()
        torch.testing.assert_close(found, log[iteration:], rtol=0, atol=0, equal_nan=True)
        for name in ("network", "teacher"):
            ends = [getattr(trainer, name).state_dict() for trainer in (whole, resumed)]
            assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
        assert torch.equal(whole.state.lesson.labels, resumed.state.lesson.labels)


@pytest.mark.parametrize("loss", [DICE_CE, nn.CrossEntropyLoss()])
@pytest.mark.parametrize("micro", [2, 4])
def test_micro_batches_with_masks_take_the_step_of_the_whole_batch(loss: Any, micro: int) -> None:
    ends = []
    ((images, masks),) = batches(1, 12)
    for size in (12, micro):
        torch.manual_seed(0)
        network = UNet(2, 1, 3, (4, 8), (2,), norm=("GROUP", {"num_groups": 2})).double()
        data = list(zip(images.double().split(size), masks.split(size), strict=True))
        run = build(network=network, train_data_loader=data, loss_function=loss, accumulation_steps=12 // size,
                    optimizer=torch.optim.SGD, curriculum=Curriculum(lesson_weight=0.0), max_epochs=1,
                    teacher=PolicyTeacher(2, 1, 3).double())  # fmt: skip
        run.run()
        assert run.student_step.taken == 1
        ends.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("loss", [DICE_CE, nn.CrossEntropyLoss(ignore_index=255)])
@pytest.mark.parametrize("estimator", [HeadHypergradient, ExactHypergradient, FiniteDifferenceHypergradient])
def test_in_bfloat16_the_hypergradient_points_where_that_of_single_precision_does(
    estimator: type[Hypergradient], loss: Any, noting: Callable[..., Any]
) -> None:
    found = []
    for amp in (False, True):
        heard = noting(estimator)
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 3, padding=1))
        data = batches() if loss is DICE_CE else sparse()
        build(network=network, hypergradient=heard, amp=amp, loss_function=loss, train_data_loader=data, max_epochs=1,
              optimizer=torch.optim.SGD).run()  # fmt: skip
        found.append([signal.double().flatten() for signal in heard.found])
    assert len(found[0]) == len(found[1]) == 2
    cosines = [float(torch.cosine_similarity(*pair, dim=0)) for pair in zip(*found, strict=True)]
    assert min(cosines) >= 0.98, cosines


class NoiseTeacher(Teacher):
    """Noise, whatever the mask, which it leaves as it is."""

    def __init__(self) -> None:
        super().__init__(spatial_dims=2, in_channels=1, num_classes=3)
        self.idle = nn.Parameter(torch.zeros(1))

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, *image_shape, generator=generator)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        return latents + 0 * self.idle

    def change_labels(self, labels: Tensor, latents: Tensor, difficulty: float = 1.0) -> Tensor:
        return labels


@pytest.mark.parametrize(("teacher", "low", "high"), [(NoiseTeacher, 0.0, 0.3), (lambda: PolicyTeacher(2, 1, 3), 1, 1)])
def test_lessons_whose_masks_do_not_belong_to_their_images_lose_weight(teacher: Any, low: float, high: float) -> None:
    evaluator = Engine(lambda *_: None)
    guard = HarmGuard(evaluator, metric_name="dice")
    trainer = build(teacher=teacher(), train_data_loader=batches(12), max_epochs=6, train_handlers=[guard])

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.state.metrics = {"dice": 0.5}
        evaluator.fire_event(Events.COMPLETED)

    trainer.run()
    assert trainer.state.curriculum["real_accuracy"] > 0.6
    assert low <= guard.share <= high
