# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import PrepareBatchExtraInput
from torch import Tensor

from monai_gmcl import ExactHypergradient, GMCLEvents, GMCLTrainer, LookAheadWeighting, UnrolledHypergradient
from monai_gmcl.engines.batches import ExtraInputs
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.teachers import LatentTeacher

Build = Callable[..., GMCLTrainer]


@pytest.fixture
def told(student: Any) -> Any:
    """A student that needs each image's brightness and age, and checks the first."""

    class Told(student):  # type: ignore[misc, valid-type]
        seen: list[tuple[Tensor, Tensor]] = []

        def forward(self, images: Tensor, brightness: Tensor, *, age: Tensor) -> Tensor:
            self.seen.append((brightness, age))
            logits: Tensor = super().forward(images)
            return logits * (1 + brightness[:, None]) + age[:, None] / 100

    Told.seen = []
    return Told


def batch(data: dict[str, Tensor], *_: Any, **__: Any) -> Any:
    images = data["image"].as_tensor() if hasattr(data["image"], "as_tensor") else data["image"]
    label = data.get("label")
    return images, label, (images.flatten(1).mean(1),), {"age": images.flatten(1).sum(1)}


def build(trainer: Build, told: Any, **changes: Any) -> GMCLTrainer:
    return trainer(network=told(), prepare_batch=batch, **changes)


@pytest.mark.parametrize("estimator", [None, ExactHypergradient(), UnrolledHypergradient(1)])
def test_a_lesson_is_taken_with_the_extra_inputs_of_its_sources(trainer: Build, told: Any, estimator: Any) -> None:
    run = build(trainer, told, hypergradient=estimator, weighting=LookAheadWeighting())
    lessons = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: lessons.append(run.state.lesson))
    run.run()
    assert len(lessons) == 9
    for lesson in lessons:
        torch.testing.assert_close(lesson.args[0], lesson.sources.flatten(1).mean(1))
        torch.testing.assert_close(lesson.kwargs["age"], lesson.sources.flatten(1).sum(1))
    assert all(len(brightness) == len(age) for brightness, age in told.seen)


def test_meta_and_unlabeled_images_bring_their_own(trainer: Build, told: Any, items: Any, loader: Any) -> None:
    unlabeled = DataLoader(Dataset([{"image": item["image"]} for item in items(9)]), batch_size=3)
    run = build(trainer, told, meta_data_loader=loader(), unlabeled_data_loader=unlabeled)
    run.run()
    lesson = run.state.lesson
    assert lesson.num_pseudo_labeled == 3
    torch.testing.assert_close(lesson.args[0], lesson.sources.flatten(1).mean(1))


def test_monais_own_preparation_reaches_lessons(trainer: Build, student: Any, items: Any) -> None:
    class Sized(student):  # type: ignore[misc, valid-type]
        def forward(self, images: Tensor, idx: Tensor) -> Tensor:
            assert idx.shape == images.shape[:1]
            logits: Tensor = super().forward(images)
            return logits

    data = Dataset([{**item, "idx": i} for i, item in enumerate(items())])
    run = trainer(
        network=Sized(),
        prepare_batch=PrepareBatchExtraInput(extra_keys="idx"),
        train_data_loader=DataLoader(data, batch_size=5),
    )
    run.run()
    assert run.state.lesson.args[0].shape == (5,) or len(run.state.lesson.args[0]) == len(run.state.lesson)


def test_a_teacher_that_makes_images_from_nothing_has_none_and_says_so(trainer: Build, told: Any) -> None:
    run = build(trainer, told, teacher=LatentTeacher(2, 3, 2, image_size=(8, 8)))
    with pytest.raises(
        ConfigurationError, match=r"extra inputs \(args\[0\], age\).*LatentTeacher has no source images"
    ):
        run.run()
    assert run.state.iteration == 1


def test_what_comes_for_each_image_is_told_from_what_is_the_same_for_all() -> None:
    extra = ExtraInputs()
    names, place, table = ["a", "b", "c"], torch.arange(6.0).view(3, 2), torch.ones(4, 2)
    leaves = extra.split((names, {"deep": (place, table)}), {"scale": 2.0, "none": None}, 3)
    assert [len(leaf) for leaf in leaves] == [3, 3]
    again = ExtraInputs()
    again.load_state_dict(extra.state_dict())
    args, kwargs = again.join([["x", "y"], place[:2]])
    assert args[0] == ["x", "y"] and isinstance(args[1]["deep"], tuple) and kwargs == {"scale": 2.0, "none": None}
    assert torch.equal(args[1]["deep"][1], table)
    again.split((names[:2], {"deep": (place[:2], table[:2])}), {"scale": 3.0, "none": None}, 2)
    assert again.join([[], []])[1]["scale"] == 3.0


def test_extra_inputs_that_no_lesson_could_have_are_refused() -> None:
    with pytest.raises(DataError, match=r"extra inputs\[0\]\[0\]: expected tensors, numbers.*got object"):
        ExtraInputs().split((object(),), {}, 2)
    extra = ExtraInputs()
    extra.split((torch.ones(2),), {}, 2)
    with pytest.raises(DataError, match=r"one value for each of 3 images, as in the first batch, got \(2,\)"):
        extra.split((torch.ones(2),), {}, 3)
    with pytest.raises(DataError, match=r"expected \[\] as in the first batch, got \['age'\]"):
        extra.split((torch.ones(2),), {"age": 1}, 2)
