# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.losses import FocalLoss
from monai.networks.nets import DenseNet121
from monai.transforms import Activationsd
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl import Curriculum, GMCLEvents, GMCLKeys, GMCLTrainer, PolicyTeacher, UnrolledHypergradient
from monai_gmcl.exceptions import (
    ConfigurationError,
    DataError,
    ImageRangeError,
    LabelError,
    NonFiniteLossError,
    StudentOutputError,
    TeacherError,
    UnsupportedOptimizerError,
)

Build = Callable[..., GMCLTrainer]


def batches(images: Tensor, labels: Tensor, size: int = 5) -> torch.utils.data.DataLoader[Any]:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=size)


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


def test_postprocessing_runs_on_decollated_outputs(trainer: Build) -> None:
    run = trainer(postprocessing=Activationsd(Keys.PRED, softmax=True))
    run.run()
    assert all(float(item[Keys.PRED].sum()) == pytest.approx(1.0, abs=1e-5) for item in run.state.output)


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


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), torch.optim.AdamW])
def test_without_lessons_the_student_goes_the_way_of_supervised_trainer(
    make: Any, trainer: Build, items: Any, student: Any
) -> None:
    data = items()
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    ends = []
    for kind in (GMCLTrainer, SupervisedTrainer):
        torch.manual_seed(0)
        network = student()
        network.dropout = nn.Identity()
        shared = {"network": network, "optimizer": make(network.parameters()), "max_epochs": 2}
        shared["train_data_loader"] = batches(images, labels)
        if kind is GMCLTrainer:
            run: Any = trainer(**shared, curriculum=Curriculum(real_weight=1.0, lesson_weight=0.0))
        else:
            run = SupervisedTrainer(device="cpu", loss_function=nn.CrossEntropyLoss(), **shared)
        run.run()
        ends.append(network.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_the_step_takes_r_times_the_real_and_w_times_the_lesson_gradient(trainer: Build, student: Any) -> None:
    network = student()
    network.dropout = nn.Identity()
    run = trainer(network=network, curriculum=Curriculum(real_weight=0.3, lesson_weight=0.6), max_epochs=1)
    found: list[dict[str, Tensor]] = []
    wanted: list[dict[str, Tensor]] = []

    @run.on(GMCLEvents.LESSON_COMPLETED)
    def compute() -> None:
        lesson_images = run.student.network, run.state.output
        network_now, output = lesson_images
        network_now.train()
        buffers = {n: b.clone() for n, b in network_now.named_buffers()}
        total: dict[str, Tensor] = {}
        pairs = [(output[Keys.IMAGE], output[Keys.LABEL], 0.3), (lessons[-1][0], lessons[-1][1], 0.6)]
        for images, labels, weight in pairs:
            loss = nn.functional.cross_entropy(torch.func.functional_call(network_now, buffers, (images,)), labels)
            names, values = zip(*network_now.named_parameters(), strict=True)
            for name, gradient in zip(names, torch.autograd.grad(loss, values), strict=True):
                total[name] = total.get(name, 0) + weight * gradient
        wanted.append(total)

    lessons: list[tuple[Tensor, Tensor]] = []
    take = run.student.take

    def listen(lesson: Any, hypergradient: Any) -> None:
        take(lesson, hypergradient)
        lessons.append((lesson.images.detach(), lesson.labels))

    run.student.take = listen  # type: ignore[method-assign]

    @run.on(IterationEvents.BACKWARD_COMPLETED)
    def keep() -> None:
        found.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})

    run.run()
    for a, b in zip(found, wanted, strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


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


def test_clipping_the_gradient_does_not_change_what_the_teacher_hears(trainer: Build) -> None:
    heard = []
    for clip in (False, True):
        run = trainer(max_epochs=1, epoch_length=2)
        looks: list[dict[str, Tensor]] = []
        step = run.teacher_step

        def listen(lessons: Any, look_ahead: Any, hardness: float, looks: Any = looks, step: Any = step) -> bool:
            looks.append({n: v.clone() for n, v in look_ahead.items()})
            return bool(step(lessons, look_ahead, hardness))

        run.teacher_step = listen  # type: ignore[assignment]
        run.teacher_step.gradient_norm = 0.0  # type: ignore[union-attr]
        if clip:

            @run.on(IterationEvents.BACKWARD_COMPLETED)
            def clip_gradient(run: GMCLTrainer = run) -> None:
                if run.state.iteration == 2:
                    nn.utils.clip_grad_norm_(run.network.parameters(), 1e-3)

        run.run()
        heard.append(looks[0])
    assert all(torch.equal(heard[0][name], heard[1][name]) for name in heard[0])


def test_a_window_of_micro_batches_is_one_step_on_all_its_images(trainer: Build, items: Any) -> None:
    data = items(n=12)
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    ends = []
    for size, window in ((12, 1), (4, 3)):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        run = trainer(
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.5),
            train_data_loader=batches(images, labels, size),
            accumulation_steps=window,
            curriculum=Curriculum(real_weight=1.0, lesson_weight=0.0),
            max_epochs=1,
        )
        run.run()
        assert run.student_step.taken == 1
        ends.append(network.state_dict())
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=1e-4, atol=1e-6)


def test_the_teacher_steps_every_interval(trainer: Build) -> None:
    run = trainer(teacher_interval=3)
    steps: list[int] = []
    run.add_event_handler(GMCLEvents.TEACHER_STEP_COMPLETED, lambda: steps.append(run.state.iteration))
    run.run()
    assert steps == [4, 7, 10]


def test_a_frozen_teacher_teaches_and_stays_as_it_is(trainer: Build) -> None:
    run = trainer(teacher_optimizer=None)
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


def test_a_meta_loader_is_looked_ahead_on_instead_of_the_training_batch(trainer: Build, items: Any) -> None:
    data = items(n=6)
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    ends = []
    for loader in (None, batches(images, labels)):
        run = trainer(meta_data_loader=loader)
        run.run()
        ends.append(run.teacher.gain.item())
    assert ends[0] != ends[1]


LABELS: dict[str, Any] = {
    "one logit": (nn.BCEWithLogitsLoss(), lambda y: y[:, None].float(), 1),
    "multi-label": (nn.BCEWithLogitsLoss(), lambda y: torch.stack([y, 1 - y, y], 1).float(), 3),
    "class weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])), lambda y: y, 2),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.2), lambda y: y, 2),
    "focal": (FocalLoss(to_onehot_y=True, use_softmax=True), lambda y: y[:, None], 2),
}


@pytest.mark.parametrize("case", LABELS)
def test_students_and_losses_as_users_bring_them(
    case: str, trainer: Build, items: Any, student: Any, gain_teacher: Any
) -> None:
    loss, shape, outputs = LABELS[case]
    data = items()
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    run = trainer(
        network=student(outputs=outputs),
        teacher=gain_teacher(num_classes=outputs),
        loss_function=loss,
        train_data_loader=batches(images, shape(labels)),
    )
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() != gain


def test_a_pretrained_dense_net_with_only_its_head_trained(trainer: Build, items: Any, gain_teacher: Any) -> None:
    network = DenseNet121(spatial_dims=2, in_channels=3, out_channels=2)
    network.features.requires_grad_(False)
    data = items(n=10, shape=(32, 32))
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    run = trainer(network=network, train_data_loader=batches(images, labels), max_epochs=1)
    body = network.features.conv0.weight.clone()
    head = network.class_layers.out.weight.clone()
    run.run()
    assert torch.equal(body, network.features.conv0.weight)
    assert not torch.equal(head, network.class_layers.out.weight)
    assert set(run.student_step.names.values()) == {"class_layers.out.weight", "class_layers.out.bias"}


def test_volumes_and_normalized_images_with_the_policy_teacher(trainer: Build, items: Any, student: Any) -> None:
    data = items(channels=1, shape=(6, 6, 6))
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    teacher = PolicyTeacher(spatial_dims=3, in_channels=1, num_classes=2, mean=[0.5], std=[0.25])
    run = trainer(
        network=student(in_channels=1, spatial_dims=3),
        teacher=teacher,
        train_data_loader=batches((images - 0.5) / 0.25, labels),
    )
    run.run()
    lesson = run.state.lesson.images.detach() * 0.25 + 0.5
    assert float(lesson.min()) >= -1e-6 and float(lesson.max()) <= 1 + 1e-6


def test_mixed_precision_on_the_cpu_trains_both(trainer: Build) -> None:
    run = trainer(amp=True)
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() != gain
    assert all(torch.isfinite(p).all() for p in run.network.parameters())


def test_a_compiled_student_learns_from_lessons_too(trainer: Build) -> None:
    run = trainer(compile=True, compile_kwargs={"backend": "eager"})
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() != gain


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
    run.run()
    assert run.state.epoch == 2 and run.state.iteration == 10


def poisoned(kind: str, items: Any) -> Any:
    data = items()
    images, labels = torch.stack([d["image"] for d in data]), torch.stack([d["label"] for d in data])
    return {
        "range": batches(images * 255, labels),
        "large label": batches(images, labels + 1),
        "negative label": batches(images, labels - 1),
        "float label": batches(images, labels.float()),
        "empty": batches(images[:0], labels[:0]),
        "nan": batches(images * float("nan"), labels),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("range", ImageRangeError, r"from 0 to 1 .*value_range"),
        ("large label", LabelError, r"from 0 to 1 .*got 1 to 2"),
        ("negative label", LabelError, r"got -1 to 0"),
        ("float label", LabelError, r"\(B, K\) from 0 to 1"),
        ("empty", DataError, "empty"),
    ],
)
def test_bad_data_raises_one_clear_error(kind: str, error: Any, message: str, trainer: Build, items: Any) -> None:
    with pytest.raises(error, match=message):
        trainer(train_data_loader=poisoned(kind, items)).run()


def test_a_student_whose_output_does_not_match_the_classes_raises(trainer: Build, student: Any) -> None:
    with pytest.raises(StudentOutputError, match=r"\(5, 2\), one logit for each class, got \(5, 3\)"):
        trainer(network=student(outputs=3)).run()


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda x: x[:, :, 1:], r"images shaped \(5, 3, 8, 8\)"), (lambda x: x.long(), "float tensor")],
)
def test_a_teacher_that_returns_something_else_raises(
    change: Any, message: str, trainer: Build, gain_teacher: Any
) -> None:
    class Wrong(gain_teacher):  # type: ignore[misc, valid-type]
        def forward(self, *args: Any) -> Tensor:
            return change(super().forward(*args))  # type: ignore[no-any-return]

    with pytest.raises(TeacherError, match=message):
        trainer(teacher=Wrong()).run()


def test_a_loss_that_is_not_finite_raises(trainer: Build) -> None:
    with pytest.raises(NonFiniteLossError, match="nan"):
        trainer(loss_function=lambda outputs, labels: outputs.sum() * float("nan")).run()


def test_a_gradient_of_the_teacher_that_is_not_finite_skips_its_step_and_is_counted(
    trainer: Build, gain_teacher: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Burst(gain_teacher):  # type: ignore[misc, valid-type]
        def change(self, images: Any, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            return images + 0 * torch.sqrt(self.gain - self.gain) * latents  # type: ignore[no-any-return]

    run = trainer(teacher=Burst())
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() == gain
    assert run.teacher_step is not None and run.teacher_step.skipped == 9
    assert "not finite" in caplog.text


def test_arguments_that_do_not_go_together_are_refused(trainer: Build, student: Any) -> None:
    network = student()
    with pytest.raises(UnsupportedOptimizerError, match="register_update_rule"):
        trainer(network=network, optimizer=torch.optim.RMSprop(network.parameters()))
    with pytest.raises(ConfigurationError, match="teacher_interval must be at least 3, got 1"):
        trainer(hypergradient=UnrolledHypergradient(3))
    with pytest.raises(ConfigurationError, match="accumulation_steps=1"):
        trainer(hypergradient=UnrolledHypergradient(1), accumulation_steps=2)
    with pytest.raises(ConfigurationError, match="accumulation_steps must be a positive integer, got 0"):
        trainer(accumulation_steps=0)


def test_no_event_of_an_epoch_is_lost(trainer: Build) -> None:
    run = trainer()
    epochs: list[int] = []
    run.add_event_handler(Events.EPOCH_COMPLETED, lambda: epochs.append(run.state.epoch))
    run.run()
    assert epochs == [1, 2]
