# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from monai.inferers import SimpleInferer
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl import PseudoLabeler
from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.weighting.distribution_alignment import average_momentum


class Shift(nn.Module):
    """Its outputs are its inputs, moved by one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.by


def attached(labeler: PseudoLabeler, steps: int = 0) -> tuple[PseudoLabeler, Shift]:
    student = Shift()

    def step(engine: Engine, _: Any) -> None:
        with torch.no_grad():
            student.by += 1

    engine = Engine(step)
    labeler.attach(engine, student, SimpleInferer())
    if steps:
        engine.run([0] * steps)
    return labeler, student


CLASSES, LOGITS = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]]), torch.tensor([[1.0], [-2.0]])


@pytest.mark.parametrize(
    ("options", "outputs", "labels", "confidence"),
    [
        ({}, CLASSES, torch.tensor([1, 0]), CLASSES.softmax(1).max(1).values),
        ({"temperature": 0.5}, torch.tensor([[0.0, 1.0]]), torch.tensor([1]), torch.tensor([2.0]).sigmoid()),
        ({}, LOGITS, torch.tensor([[1.0], [0.0]]), LOGITS[:, 0].abs().sigmoid()),
        ({"multi_label": True}, LOGITS.T, torch.tensor([[1.0, 0.0]]), LOGITS.abs().sigmoid().mean(0)),
    ],
    ids=["classes", "a low temperature", "one logit", "several labels"],
)
def test_the_likeliest_is_proposed_with_its_probability(
    options: dict[str, Any], outputs: Tensor, labels: Tensor, confidence: Tensor
) -> None:
    found, sure = attached(PseudoLabeler(**options))[0](outputs)
    assert torch.equal(found, labels) and found.dtype == labels.dtype
    torch.testing.assert_close(sure, confidence)


@pytest.mark.parametrize(("momentum", "steps"), [(0.5, 4), (0.01, 3), (0.3, 6)])
def test_the_student_is_averaged_with_more_of_the_present_at_first(momentum: float, steps: int) -> None:
    labeler, _ = attached(PseudoLabeler(momentum=momentum), steps)
    average = 0.0
    for step in range(1, steps + 1):
        share = max(momentum, 9 / (8 + step))
        average += share * (step - average)
    assert float(labeler.network.by) == pytest.approx(average)


def test_an_average_forgets_the_first_weights_within_a_few_steps() -> None:
    assert average_momentum(0.01, 1) == 1
    kept = math.prod(1 - average_momentum(0.01, step) for step in range(2, 21))
    assert kept < 1e-6
    assert average_momentum(0.01, 10_000) == 0.01


def aligned(labels: Tensor, outputs: int, **options: Any) -> PseudoLabeler:
    """A labeler that has seen one labeled batch."""

    def step(engine: Engine, _: Any) -> None:
        engine.state.output = {Keys.LABEL: labels, Keys.PRED: torch.zeros(len(labels), outputs)}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    labeler = PseudoLabeler(align=True, **options)
    labeler.attach(engine, Shift(), SimpleInferer())
    engine.run([0])
    return labeler


def test_aligned_classes_are_proposed_as_often_as_they_come_among_labeled_images() -> None:
    images = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 0.9], [0.0, 0.8]])
    plain, _ = attached(PseudoLabeler())
    assert plain(images)[0].tolist() == [1, 1, 1, 1]
    labels, confidence = aligned(torch.tensor([0, 0, 0, 1]), 2)(images)
    assert labels.tolist() == [1, 0, 0, 0]
    mean = images.softmax(1).mean(0)
    wanted = images.softmax(1) * torch.tensor([4.0, 2.0]) / mean
    torch.testing.assert_close(confidence, (wanted / wanted.sum(1, keepdim=True)).max(1).values)


def test_the_temperature_is_that_of_aligned_proposals() -> None:
    images = torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0, 0, 1])
    once, squared = (aligned(labels, 2, temperature=t)(images)[1] for t in (1.0, 0.5))
    torch.testing.assert_close(squared, once**2 / (once**2 + (1 - once) ** 2))


@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_of_yes_or_no_are_aligned_too(multi_label: bool) -> None:
    images = torch.tensor([[2.0], [1.0], [0.9], [0.8]]).repeat(1, 3 if multi_label else 1)
    given = torch.tensor([[0.0], [0.0], [0.0], [1.0]]).expand(4, images.shape[1])
    labeler = aligned(given, images.shape[1], multi_label=multi_label)
    assert torch.equal(labeler(images)[0], torch.tensor([[1.0], [0.0], [0.0], [0.0]]).expand_as(images))


def test_an_alignment_is_saved_with_the_average() -> None:
    first, second = (aligned(labels, 2) for labels in (torch.tensor([0, 0, 0, 1]), torch.tensor([1, 1, 1, 1])))
    images = torch.tensor([[0.0, 2.0], [0.0, 1.0]])
    first(images)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(images)[1], second(images)[1])


def test_a_state_without_alignment_is_put_back_into_a_labeler_that_aligns() -> None:
    labeler = aligned(torch.tensor([0, 1]), 2)
    labeler.load_state_dict(attached(PseudoLabeler(), 5)[0].state_dict())
    assert float(labeler.network.by) != 0.0


def test_what_is_saved_can_be_put_back() -> None:
    labeler, _ = attached(PseudoLabeler(), 5)
    other, _ = attached(PseudoLabeler())
    other.load_state_dict(labeler.state_dict())
    assert float(other.network.by) == float(labeler.network.by) != 0.0


def test_a_first_student_proposes_and_stays_as_it_is() -> None:
    first = Shift()
    with torch.no_grad():
        first.by += 7
    labeler, student = attached(PseudoLabeler(network=first.train()), 5)
    images = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    labels, confidence = labeler(images)
    assert labels.tolist() == [1, 0] and not first.training
    torch.testing.assert_close(confidence, images.softmax(1).max(1).values)
    assert labeler.network is first and first.by.item() == 7 and student.by.item() == 5
    # It is no part of what is saved.
    assert labeler.state_dict()["average"] is None
    labeler.load_state_dict(attached(PseudoLabeler(), 5)[0].state_dict())
    assert first.by.item() == 7


@pytest.mark.parametrize("state", [{}, {"average": None, "alignment": None}])
def test_an_average_that_was_not_saved_is_an_error(state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="no running average.*Use the label_proposal"):
        attached(PseudoLabeler())[0].load_state_dict(state)


def test_the_student_that_trains_is_no_first_student_and_no_student_is_an_error() -> None:
    student = Shift()
    with pytest.raises(ConfigurationError, match="network is the student that is being trained"):
        PseudoLabeler(network=student).attach(Engine(lambda *_: None), student, SimpleInferer())
    with pytest.raises(ConfigurationError, match="attach it to an engine and a student first"):
        PseudoLabeler()(torch.zeros(1, 2))


@pytest.mark.parametrize("wrong", [{"momentum": 0.0}, {"momentum": 1.0}, {"temperature": 0.0}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"PseudoLabeler: {name} must be above 0"):
        PseudoLabeler(**wrong)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_of_pixels_is_a_probability(threshold: float) -> None:
    with pytest.raises(ConfigurationError, match=f"pixel_threshold must be from 0 to 1, got {threshold}"):
        PseudoLabeler(pixel_threshold=threshold)


@pytest.mark.parametrize("multi_label", [False, True])
def test_pixels_below_the_threshold_have_no_confidence(multi_label: bool) -> None:
    outputs = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    (masks, mean), (again, confidence) = (
        attached(PseudoLabeler(multi_label=multi_label, pixel_threshold=t))[0](outputs) for t in (0.0, 0.6)
    )
    probability = outputs.abs().sigmoid() if multi_label else outputs.softmax(1).amax(1, keepdim=True)
    assert torch.equal(masks, again) and confidence.shape == masks.shape
    torch.testing.assert_close(mean, probability.flatten(1).mean(1))
    torch.testing.assert_close(confidence, probability.where(probability >= 0.6, 0))
