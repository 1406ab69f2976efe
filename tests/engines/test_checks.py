# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from torch import Tensor, nn

from monai_gmcl import GMCLTrainer, PolicyTeacher, UnrolledHypergradient
from monai_gmcl.engines.checks import RangeCheck, check_images
from monai_gmcl.exceptions import (
    ConfigurationError,
    DataError,
    ImageRangeError,
    LabelError,
    NonFiniteLossError,
    StudentOutputError,
    TeacherError,
)

Build = Callable[..., GMCLTrainer]

CHANGES: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], Any, str]] = {
    "images from 0 to 255": (lambda x, y: (x * 255, y), ImageRangeError, r"from 0 to 1 .*got .* to 22\d.*value_range"),
    "class too large": (lambda x, y: (x, y + 1), LabelError, r"from 0 to 1 \(the teacher's.*got 1 to 2"),
    "negative class": (lambda x, y: (x, y - 1), LabelError, r"from 0 to 1 .*got -1 to 0"),
    "float classes": (lambda x, y: (x, y.float()), LabelError, r"\(B, K\) from 0 to 1 for 2 outputs, got shape \(5,\)"),
    "float above 1": (lambda x, y: (x, 3.0 * y[:, None]), LabelError, r"got shape \(5, 1\) with values from 0 to 3"),
    "two columns": (lambda x, y: (x, torch.stack([y, y], 1)), LabelError, r"\(5, 2\) .*to be one-hot, got \[0, 0\]"),
    "images of NaN": (lambda x, y: (x * float("nan"), y), DataError, "Image 0 of a batch has NaN"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_bad_data_raises_one_clear_error(case: str, trainer: Build, tensors: Any, batches: Any) -> None:
    change, error, message = CHANGES[case]
    with pytest.raises(error, match=message):
        trainer(train_data_loader=batches(*change(*tensors()))).run()


def test_large_finite_images_are_no_error_and_infinities_that_cancel_are() -> None:
    images = torch.full((2, 1, 8, 8), 60000.0, dtype=torch.float16)
    check_images(images)
    images[1, 0, 0, :2] = torch.tensor([float("inf"), float("-inf")])
    with pytest.raises(DataError, match="Image 1 of a batch has NaN or infinite"):
        check_images(images)


@pytest.mark.parametrize("extra", [{}, {"label": "cat"}])
def test_images_without_label_tensors_raise(extra: dict[str, str], trainer: Build, items: Any) -> None:
    data = Dataset([{"image": item["image"], **extra} for item in items()])
    with pytest.raises(LabelError, match="images without labels"):
        trainer(train_data_loader=DataLoader(data, batch_size=5)).run()


def test_what_is_compiled_in_a_lessons_way_or_on_another_device_is_refused(trainer: Build, student: Any) -> None:
    compiled, teacher = student(), PolicyTeacher(2, 3, 2)
    compiled.body.compile(backend="eager")
    teacher.compile(backend="eager")
    with pytest.raises(ConfigurationError, match=r"a part of it, is compiled in place.*GMCLTrainer\(compile=True\)"):
        trainer(network=compiled)
    with pytest.raises(ConfigurationError, match="teacher is compiled"):
        trainer(teacher=teacher)
    with pytest.raises(ConfigurationError, match=r"trainer's device, cpu, found its \w+ on meta.*\.to\(device\)"):
        trainer(teacher=PolicyTeacher(2, 3, 2).to("meta"))


class Nothing(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(("name", "told"), [("train_data_loader", "training data loader"), ("meta_data_loader",) * 2])
def test_a_loader_that_gives_nothing_raises_by_name(name: str, told: str, trainer: Build) -> None:
    with pytest.raises(DataError, match=f"{told} has no batch; expected at least one"):
        trainer(**{name: torch.utils.data.DataLoader(Nothing(), batch_size=5)}).run()


def test_a_class_without_a_logit_raises_for_any_teacher(trainer: Build, tensors: Any, batches: Any) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Parameter(torch.zeros(()))

        def forward(self, images: Tensor, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            return images + self.offset

    images, labels = tensors()
    with pytest.raises(LabelError, match=r"from 0 to 1 \(the student has 2 logits\), got 7"):
        trainer(teacher=Plain(), train_data_loader=batches(images, labels * 7)).run()


def test_a_student_whose_output_does_not_match_the_labels_raises(
    trainer: Build, student: Any, tensors: Any, batches: Any
) -> None:
    with pytest.raises(StudentOutputError, match=r"\(5, 2\), one logit for each class, got \(5, 3\)"):
        trainer(network=student(outputs=3)).run()
    images, labels = tensors()
    several = batches(images, torch.stack([labels] * 3, 1).float())
    with pytest.raises(StudentOutputError, match=r"float labels \(5, 3\), got \(5, 2\)"):
        trainer(train_data_loader=several, loss_function=nn.BCEWithLogitsLoss()).run()


def test_a_student_that_returns_more_than_logits_raises(trainer: Build, student: Any) -> None:
    class Deep(student):  # type: ignore[misc, valid-type]
        def forward(self, images: Tensor) -> Any:
            return (super().forward(images), images)

    with pytest.raises(StudentOutputError, match="one tensor of logits, got tuple"):
        trainer(network=Deep()).run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :, 1:], r"images shaped \(5, 3, 8, 8\) as the real ones, got \(5, 3, 7, 8\)"),
        (lambda x: x[:3], r"got \(3, 3, 8, 8\)"),
        (lambda x: x.long(), "return a float tensor of images, got torch.int64"),
        (lambda x: [x], "return a float tensor of images, got list"),
    ],
)
def test_a_teacher_that_returns_something_else_raises(
    change: Any, message: str, trainer: Build, gain_teacher: Any
) -> None:
    class Wrong(gain_teacher):  # type: ignore[misc, valid-type]
        def forward(self, *args: Any) -> Any:
            return change(super().forward(*args))

    with pytest.raises(TeacherError, match=f"Wrong.*{message}"):
        trainer(teacher=Wrong()).run()


@pytest.mark.parametrize(("channels", "dims"), [(1, 2), (3, 3)])
def test_a_teacher_built_for_other_images_raises(channels: int, dims: int, trainer: Build) -> None:
    teacher = PolicyTeacher(spatial_dims=dims, in_channels=channels, num_classes=2)
    with pytest.raises(ConfigurationError, match=rf"{channels} channel\(s\) and {dims} spatial.*\(3, 8, 8\)"):
        trainer(teacher=teacher).run()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_raises(value: str, trainer: Build) -> None:
    with pytest.raises(NonFiniteLossError, match=f"real images is {value}"):
        trainer(loss_function=lambda outputs, labels: outputs.sum() * 0 + float(value)).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_interval": 0}, "teacher_interval must be a positive integer, got 0"),
        ({"accumulation_steps": 0}, "accumulation_steps must be a positive integer, got 0"),
        ({"hypergradient": UnrolledHypergradient(3)}, "teacher_interval must be at least 3, got 1"),
        (
            {"hypergradient": UnrolledHypergradient(1), "accumulation_steps": 2},
            "accumulation_steps=1 .* got 2",
        ),
        ({"hypergradient": UnrolledHypergradient(1), "amp": True}, "amp=False; got 1 and True"),
    ],
)
def test_an_estimator_that_could_not_hear_lessons_set_as_often_as_this_is_refused(
    changes: dict[str, Any], message: str, trainer: Build
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        trainer(**changes)


@pytest.mark.parametrize("first", [1, 21])
def test_the_first_image_out_of_range_ends_the_run_whichever_it_is(first: int, trainer: Build, items: Any) -> None:
    data = items()
    for i, item in enumerate(data):
        values = item["image"] * 3000 - 1000 if i >= first else item["image"]
        item["image"] = MetaTensor(values, meta={"filename_or_obj": f"ct_{i}.nii"})
    run = trainer(train_data_loader=DataLoader(Dataset(data), batch_size=5))
    with pytest.raises(ImageRangeError, match=r"Image \d of a batch, ct_\d+\.nii,: .* from 0 to 1"):
        run.run()
    assert run.state.iteration == first // 5 + 1


def test_unlabeled_images_out_of_range_end_the_run(trainer: Build, items: Any) -> None:
    unlabeled = DataLoader(Dataset([{"image": item["image"] * 255} for item in items(6)]), batch_size=3)
    with pytest.raises(ImageRangeError, match="Expected images with values from 0 to 1"):
        trainer(unlabeled_data_loader=unlabeled).run()


def test_a_channel_out_of_range_is_seen_un_normalized(gain_teacher: Any) -> None:
    teacher = gain_teacher(mean=[0.5, 0.5, 0.0], std=[0.25, 0.25, 1.0])
    check = RangeCheck(teacher)
    check(torch.tensor([2.0, -2.0, 1.0]).view(1, 3, 1, 1))
    for beyond in ([3.0, 0.0, 0.0], [0.0, -3.0, 0.0], [0.0, 0.0, 1.6]):
        with pytest.raises(ImageRangeError):
            check(torch.tensor(beyond).view(1, 3, 1, 1))


def test_noise_that_goes_a_little_beyond_is_said_once(gain_teacher: Any, caplog: pytest.LogCaptureFixture) -> None:
    check, images = RangeCheck(gain_teacher()), torch.full((2, 3, 4, 4), 1.05)
    with caplog.at_level(logging.WARNING):
        check(images), check(images), check(torch.ones(2, 3, 4, 4))
    assert [record.message[-120:-60] for record in caplog.records] and len(caplog.records) == 1
    assert "exceed the teacher's value_range, 0 to 1, by 0.05" in caplog.text


def test_volumes_are_looked_at_too(gain_teacher: Any) -> None:
    volumes: Tensor = torch.rand(2, 1, 4, 4, 4)
    check = RangeCheck(gain_teacher(in_channels=1, spatial_dims=3, value_range=(-1000.0, 2000.0)))
    check(volumes * 3000 - 1000)
    with pytest.raises(ImageRangeError, match=r"Image 1 of a batch: .*got .* to 5000"):
        check(torch.cat([volumes[:1], torch.full((1, 1, 4, 4, 4), 5000.0)]))
