# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Accuracy
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.handlers import from_engine
from monai.losses import FocalLoss
from monai.networks.nets import DenseNet121
from monai.transforms import AsDiscreted
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl import (
    Curriculum,
    GMCLEvents,
    GMCLKeys,
    GMCLTrainer,
    LatentTeacher,
    PolicyTeacher,
)

Build = Callable[..., GMCLTrainer]


def test_every_argument_of_supervised_trainer_is_accepted_in_its_place_with_its_default() -> None:
    theirs = inspect.signature(SupervisedTrainer).parameters
    ours = inspect.signature(GMCLTrainer).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert all(ours[name].default == parameter.default for name, parameter in theirs.items())


def test_outputs_hold_the_real_batch_and_the_lesson_decollated(trainer: Build) -> None:
    run = trainer()
    run.run()
    (output, *_) = run.state.output
    assert {Keys.IMAGE, Keys.LABEL, Keys.PRED, Keys.LOSS, *GMCLKeys} == set(output)
    assert output[GMCLKeys.SYNTHETIC_IMAGE].shape == output[Keys.IMAGE].shape
    assert isinstance(output[GMCLKeys.SYNTHETIC_LOSS], float) and output[GMCLKeys.DIFFICULTY] > 0


def test_events_fire_in_the_order_of_the_lesson_and_handlers_may_attach_to_all(trainer: Build) -> None:
    fired: list[str] = []

    class Listener:
        def attach(self, engine: Any) -> None:
            for event in (*IterationEvents, *GMCLEvents):
                if "INNER" not in event.name:
                    engine.add_event_handler(event, self.note, event.name)

        def note(self, engine: Any, name: str) -> None:
            fired.append(name)

    names: list[Any] = ["own_event"]
    run = trainer(train_handlers=[Listener()], event_names=names, max_epochs=1)
    run.run()
    first = ["FORWARD_COMPLETED", "LOSS_COMPLETED", "LESSON_COMPLETED", "BACKWARD_COMPLETED", "MODEL_COMPLETED"]
    later = [*first[:2], "TEACHER_STEP_COMPLETED", *first[2:]]
    assert fired == first + later * 4
    assert names == ["own_event"]


def test_without_decollation_the_output_is_one_batch_with_as_many_synthetic_images(trainer: Build) -> None:
    run = trainer(decollate=False)
    run.run()
    assert {len(run.state.output[key]) for key in (Keys.IMAGE, Keys.PRED, "synthetic_image", "synthetic_pred")} == {2}
    assert set(run.state.output[GMCLKeys.SYNTHETIC_LABEL].tolist()) <= {0, 1}
    assert not run.state.output[GMCLKeys.SYNTHETIC_IMAGE].requires_grad


def test_while_w_is_0_no_lesson_is_drawn(trainer: Build) -> None:
    run = trainer(curriculum=Curriculum(lesson_weight=lambda progress: float(0.3 < progress < 0.6)))
    set_at: list[int] = []
    heard_at: list[int] = []
    none_at: list[int] = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: set_at.append(run.state.iteration))
    run.add_event_handler(GMCLEvents.TEACHER_STEP_COMPLETED, lambda: heard_at.append(run.state.iteration))

    @run.on(Events.ITERATION_COMPLETED)
    def look() -> None:
        if run.state.lesson is None:
            none_at.append(run.state.iteration)
            assert GMCLKeys.SYNTHETIC_IMAGE not in run.state.output[0]

    run.run()
    assert set_at == [5, 6] and heard_at == [6, 7] and none_at == [1, 2, 3, 4, 7, 8, 9, 10]


def test_handlers_of_a_lesson_see_it_and_where_the_curriculum_stands(trainer: Build) -> None:
    run = trainer(max_epochs=1)
    seen: list[Any] = []

    @run.on(GMCLEvents.LESSON_COMPLETED)
    def look() -> None:
        values = run.state.curriculum
        seen.append(run.state.lesson.latents)
        assert set(values) == {
            "real_weight", "lesson_weight", "unlabeled_weight", "hardness", "difficulty", "unlabeled_difficulty",
            "real_accuracy", "lesson_accuracy",
        }  # fmt: skip
        assert values["difficulty"] == run.state.lesson.difficulty

    run.run()
    assert len(seen) == 5 and torch.equal(seen[-1], run.state.lesson.latents)


def test_a_key_metric_is_computed_and_its_best_value_kept(trainer: Build) -> None:
    accuracy = Accuracy(output_transform=from_engine(["pred", "label"]))
    run = trainer(
        key_train_metric={"accuracy": accuracy},
        additional_metrics={
            "on_lessons": Accuracy(output_transform=from_engine(["synthetic_pred", "synthetic_label"]))
        },
        postprocessing=AsDiscreted(["pred", "synthetic_pred"], argmax=True),
    )
    run.run()
    assert 0 <= run.state.metrics["on_lessons"] <= 1
    assert run.state.best_metric >= run.state.metrics["accuracy"] >= 0


def test_an_iteration_of_ones_own_replaces_the_engines(trainer: Build) -> None:
    run = trainer(iteration_update=lambda engine, batch: {"seen": len(batch["image"])}, decollate=False)
    run.run()
    assert run.state.output == {"seen": 2} and run.state.lesson is None


@pytest.mark.parametrize(
    ("event", "failing"),
    [
        (Events.ITERATION_STARTED, 2),
        (Events.ITERATION_COMPLETED, 5),
        (GMCLEvents.LESSON_COMPLETED, 7),
    ],
)
def test_a_run_that_an_error_ended_goes_on_with_the_next_batch(
    event: Any, failing: int, trainer: Build, caplog: pytest.LogCaptureFixture
) -> None:
    run, whole = trainer(accumulation_steps=2), trainer()
    seen: dict[GMCLTrainer, list[float]] = {run: [], whole: []}
    for one in seen:
        one.add_event_handler(
            Events.GET_BATCH_COMPLETED, lambda e: seen[e].append(float(torch.as_tensor(e.state.batch["image"]).sum()))
        )

    def fail() -> None:
        if run.state.iteration == failing and not caplog.records:
            raise RuntimeError("once")

    run.add_event_handler(event, fail)
    with pytest.raises(RuntimeError, match="once"):
        run.run()
    assert run.state.iteration == failing
    run.run()
    assert f"An error ended this run in iteration {failing}. The run continues after it." in caplog.text
    whole.run()
    assert (run.state.epoch, run.state.iteration) == (2, 10) and seen[run] == seen[whole]


def test_an_empty_loader_is_skipped_with_a_word(trainer: Build, caplog: pytest.LogCaptureFixture) -> None:
    run = trainer(train_data_loader=[])
    run.run()
    assert run.state.iteration == 0 and "loader is empty. Nothing is trained" in caplog.text


def test_meta_tensors_come_back_while_gradients_and_optimizer_state_stay_plain(trainer: Build) -> None:
    run = trainer()
    kinds: list[Any] = []

    @run.on(IterationEvents.BACKWARD_COMPLETED)
    def look() -> None:
        kinds.extend(type(p.grad) for p in run.network.parameters())

    run.run()
    assert isinstance(run.state.output[0][Keys.IMAGE], MetaTensor)
    assert set(kinds) == {Tensor}
    values = [v for kept in run.optimizer.state.values() for v in kept.values()]
    assert {type(v) for v in values} == {Tensor}
    assert {type(v) for v in (run.state.lesson.images, run.state.lesson.sources, run.teacher.gain.data)} == {Tensor}


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), {"accumulation_steps": 2}),
        (torch.optim.AdamW, {"optim_set_to_none": True}),
    ],
)
def test_without_lessons_the_student_goes_the_way_of_supervised_trainer(
    make: Any, options: dict[str, Any], trainer: Build, student: Any, tensors: Any, batches: Any
) -> None:
    images, labels = tensors()
    ends = []
    for kind in (GMCLTrainer, SupervisedTrainer):
        torch.manual_seed(0)
        network = student()
        network.dropout = nn.Identity()
        shared = {"network": network, "optimizer": make(network.parameters()), "max_epochs": 2}
        shared.update(train_data_loader=batches(images, labels), **options)
        if kind is GMCLTrainer:
            run: Any = trainer(**shared, curriculum=Curriculum(real_weight=1.0, lesson_weight=0.0))
        else:
            run = SupervisedTrainer(device="cpu", loss_function=nn.CrossEntropyLoss(), **shared)
        run.run()
        ends.append(network.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_running_statistics_of_the_student_are_those_of_real_images_only(trainer: Build, student: Any) -> None:
    statistics = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        network = student()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
        trainer(network=network, optimizer=optimizer, curriculum=Curriculum(lesson_weight=weight)).run()
        statistics.append(network.state_dict())
    for name in ("body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"):
        assert torch.equal(statistics[0][name], statistics[1][name])


class NormalizingTeacher(nn.Module):
    """A plain module with running statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.Dropout(0.5))

    def forward(self, images: Tensor, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        return images + 0.1 * difficulty * torch.tanh(self.change(images))


@pytest.mark.parametrize("make", [None, NormalizingTeacher])
def test_a_frozen_teacher_teaches_and_stays_as_it_is(make: Any, trainer: Build) -> None:
    run = trainer(teacher=make and make(), teacher_optimizer=None)
    before = {name: value.clone() for name, value in run.teacher.state_dict().items()}
    run.run()
    assert all(torch.equal(before[name], value) for name, value in run.teacher.state_dict().items())
    assert run.state.lesson is not None


def test_a_frozen_teacher_asks_nothing_of_the_students_head(trainer: Build) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    run = trainer(network=network, teacher_optimizer=None)
    run.run()
    assert run.state.iteration == 10


def test_a_plain_module_gets_normal_latents_and_may_be_a_teacher(trainer: Build) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(64, 1)

        def forward(self, images: Tensor, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            return images + 0.1 * difficulty * torch.tanh(self.mix(latents))[:, :, None, None]

    run = trainer(teacher=Plain())
    before = run.teacher.mix.weight.clone()
    run.run()
    assert not torch.equal(before, run.teacher.mix.weight)


def test_running_statistics_of_a_teacher_count_each_lesson_once(trainer: Build) -> None:
    run = trainer(teacher=NormalizingTeacher())
    run.run()
    assert run.teacher.change[0].num_batches_tracked == 10


def test_a_teacher_that_needs_no_images_learns(trainer: Build) -> None:
    run = trainer(teacher=LatentTeacher(image_size=(8, 8), spatial_dims=2, in_channels=3, num_classes=2))
    before = [p.detach().clone() for p in run.teacher.parameters()]
    run.run()
    assert run.state.lesson.sources is None
    assert not all(torch.equal(a, b) for a, b in zip(before, run.teacher.parameters(), strict=True))


LABELS: dict[str, Any] = {
    "one logit": (nn.BCEWithLogitsLoss(), lambda y: y[:, None].float(), 1),
    "multi-label": (nn.BCEWithLogitsLoss(), lambda y: torch.stack([y, 1 - y, y], 1).float(), 3),
    "class weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])), lambda y: y, 2),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.2), lambda y: y, 2),
    "focal": (FocalLoss(to_onehot_y=True, use_softmax=True), lambda y: y[:, None], 2),
}


@pytest.mark.parametrize(
    ("case", "options"),
    [
        *((case, {}) for case in LABELS),
        ("label smoothing", {"amp": True}),
        ("focal", {"compile": True, "compile_kwargs": {"backend": "eager"}}),
    ],
)
def test_the_teacher_learns_from_students_and_losses_as_users_bring_them(
    case: str, options: Any, trainer: Build, student: Any, gain_teacher: Any, tensors: Any, batches: Any
) -> None:
    loss, shape, outputs = LABELS[case]
    images, labels = tensors()
    run = trainer(
        network=student(outputs=outputs),
        teacher=gain_teacher(num_classes=outputs),
        loss_function=loss,
        train_data_loader=batches(images, shape(labels)),
        **options,
    )
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() != gain
    assert all(torch.isfinite(p).all() for p in run.network.parameters())


def test_a_pretrained_dense_net_with_only_its_head_trained(
    trainer: Build, gain_teacher: Any, tensors: Any, batches: Any
) -> None:
    network = DenseNet121(spatial_dims=2, in_channels=3, out_channels=2)
    network.features.requires_grad_(False)
    images, labels = tensors(n=10, shape=(32, 32))
    run = trainer(network=network, train_data_loader=batches(images, labels), max_epochs=1)
    body = network.features.conv0.weight.clone()
    head = network.class_layers.out.weight.clone()
    run.run()
    assert torch.equal(body, network.features.conv0.weight)
    assert not torch.equal(head, network.class_layers.out.weight)
    assert set(run.student_step.names.values()) == {"class_layers.out.weight", "class_layers.out.bias"}


def test_volumes_and_normalized_images_with_the_policy_teacher(
    trainer: Build, student: Any, tensors: Any, batches: Any
) -> None:
    images, labels = tensors(channels=1, shape=(6, 6, 6))
    teacher = PolicyTeacher(spatial_dims=3, in_channels=1, num_classes=2, mean=[0.5], std=[0.25])
    run = trainer(
        network=student(in_channels=1, spatial_dims=3),
        teacher=teacher,
        train_data_loader=batches((images - 0.5) / 0.25, labels),
    )
    run.run()
    lesson = run.state.lesson.images.detach() * 0.25 + 0.5
    assert float(lesson.min()) >= -1e-6 and float(lesson.max()) <= 1 + 1e-6


@pytest.mark.slow
def test_a_student_compiled_by_inductor_learns_as_the_plain_one_does(
    trainer: Build, student: Any, tensors: Any, batches: Any
) -> None:
    losses: dict[bool, list[float]] = {False: [], True: []}
    for compiled, noted in losses.items():
        torch.manual_seed(0)
        network = student()
        network.dropout = nn.Identity()
        run = trainer(network=network, compile=compiled, train_data_loader=batches(*tensors(n=20)), max_epochs=1)
        run.add_event_handler(
            Events.ITERATION_COMPLETED, lambda run=run, noted=noted: noted.append(run.state.output[0][Keys.LOSS])
        )
        run.run()
    assert len(losses[True]) == 4
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)


def test_a_loader_without_length_and_a_prepare_batch_with_arguments(trainer: Build, items: Any, student: Any) -> None:
    class Endless(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([(d["image"], d["label"]) for d in items()])

    class Scaled(student):  # type: ignore[misc, valid-type]
        def forward(self, images: Tensor, scale: float = 1.0) -> Tensor:
            return super().forward(images * scale)  # type: ignore[no-any-return]

    run = trainer(
        network=Scaled(),
        train_data_loader=torch.utils.data.DataLoader(Endless(), batch_size=5),
        prepare_batch=lambda batch, *args, **kwargs: (batch[0], batch[1], (), {"scale": 0.5}),
    )
    values: list[float] = []
    run.curriculum = Curriculum(hardness=lambda progress: values.append(progress) or progress)  # type: ignore[func-returns-value]
    values.clear()
    run.run()
    assert run.state.epoch == 2 and run.state.iteration == 10
    assert values == pytest.approx([0.0] * 5 + [0.5, 0.6, 0.7, 0.8, 0.9])
