# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl import (
    Curriculum,
    ExactHypergradient,
    GMCLEvents,
    GMCLKeys,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    ImageTeacher,
    Lesson,
    PolicyTeacher,
    StainTeacher,
    UnrolledHypergradient,
)
from monai_gmcl.engines.teacher_step import TeacherPass, TeacherStep
from monai_gmcl.lesson import LessonGraph
from monai_gmcl.ranks import Ranks

Build = Callable[..., GMCLTrainer]

RATE, TEACHER_RATE, R, W = 0.5, 0.1, 0.4, 0.7


def smooth_student() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    return nn.Sequential(*layers).double()


def loss_of(network: nn.Module, parameters: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(torch.func.functional_call(network, parameters, (images,)), labels)


def taught_gain(run: GMCLTrainer, gain: Tensor, windows: Sequence[Any], look_ahead: Any, hardness: float) -> Tensor:
    """The teacher's parameter after one step, by differentiating through plain gradient descent of the student.

    Args:
        run: for student and teacher.
        gain: the parameter before.
        windows: ``(student's parameters, [(real images, labels, lesson), ...])`` of each student step to go through.
        look_ahead: batches on which the student is measured afterwards.
        hardness: β.
    """
    parameters = {name: p.detach().requires_grad_() for name, p in windows[0][0].items()}
    made, leaves, taught = [], [], []
    for _, micro_batches in windows:
        total = 0.0
        for images, labels, lesson in micro_batches:
            with torch.no_grad():
                run.teacher.gain.copy_(gain)
            made.append(run.teacher(lesson.sources, lesson.labels, lesson.latents, lesson.difficulty))
            leaves.append(lesson.images.detach().clone().requires_grad_())
            taught.append(loss_of(run.network, parameters, leaves[-1], lesson.labels))
            total = total + R * loss_of(run.network, parameters, images, labels) + W * taught[-1]
        gradients = torch.autograd.grad(total / len(micro_batches), list(parameters.values()), create_graph=True)
        parameters = {n: p - RATE * g for (n, p), g in zip(parameters.items(), gradients, strict=True)}
    after = torch.stack([loss_of(run.network, parameters, *batch) for batch in look_ahead]).mean()
    # The teacher is updated by the last lesson of each window.
    heard = [i for i in range(len(made)) if (i + 1) % len(windows[0][1]) == 0]
    assert all(torch.equal(made[i], leaves[i]) for i in heard)
    signal = torch.cat(torch.autograd.grad(after, [leaves[i] for i in heard], retain_graph=True))
    signal = signal / signal.norm()
    if hardness:
        hard = torch.cat([torch.autograd.grad(taught[i], leaves[i], retain_graph=True)[0] for i in heard])
        signal = signal - hardness * hard / hard.norm()
    (gradient,) = torch.autograd.grad(torch.cat([made[i] for i in heard]), run.teacher.gain, signal)
    return gain - TEACHER_RATE * gradient


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hardness": {"hardness": 0.5},
    "meta batches": {"meta": True},
    "accumulation": {"accumulation_steps": 2},
    "three steps": {"hypergradient": UnrolledHypergradient(3), "teacher_interval": 3},
    "three hard steps": {"hypergradient": UnrolledHypergradient(3), "teacher_interval": 3, "hardness": 0.5},
}


@pytest.mark.parametrize("case", CASES)
def test_the_teacher_goes_down_the_gradient_of_the_students_loss_after_its_lesson(
    case: str, trainer: Build, tensors: Any, batches: Any, gain_teacher: Any
) -> None:
    options = dict(CASES[case])
    hardness, meta = options.pop("hardness", 0.0), options.pop("meta", False)
    images, labels = tensors(n=20)
    other = (images[:6].double().flip(3), labels[:6])
    teacher = gain_teacher().double()
    network = smooth_student()
    run = trainer(
        network=network,
        teacher=teacher,
        optimizer=torch.optim.SGD(network.parameters(), lr=RATE),
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=TEACHER_RATE),
        train_data_loader=batches(images.double(), labels),
        meta_data_loader=[other] if meta else None,
        curriculum=Curriculum(real_weight=R, lesson_weight=W, hardness=hardness, difficulty=0.5),
        max_epochs=3,
        **{"hypergradient": ExactHypergradient(), **options},
    )
    windows: list[Any] = []
    gains = [teacher.gain.detach().clone()]
    heard_after: list[int] = []
    size = options.get("accumulation_steps", 1)

    @run.on(GMCLEvents.LESSON_COMPLETED)
    def note() -> None:
        if not windows or len(windows[-1][1]) == size:
            windows.append(({n: p.detach().clone() for n, p in network.named_parameters()}, []))
        output = run.state.output
        windows[-1][1].append((output[Keys.IMAGE], output[Keys.LABEL], run.state.lesson))

    @run.on(GMCLEvents.TEACHER_STEP_COMPLETED)
    def keep() -> None:
        gains.append(teacher.gain.detach().clone())
        heard_after.append(len(windows) - 1 if size == 2 else len(windows))

    run.run()
    interval = options.get("teacher_interval", 1)
    assert len(gains) - 1 == (len(windows) - 1) // interval >= 3
    for before, found, last in zip(gains, gains[1:], heard_after, strict=False):
        ahead = [other] if meta else [batch[:2] for batch in windows[last][1]]
        wanted = taught_gain(run, before, windows[last - interval : last], ahead, hardness)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
        assert abs(float(found - before)) > 1e-5


def test_the_teacher_steps_every_interval(trainer: Build) -> None:
    run = trainer(teacher_interval=3)
    steps: list[int] = []
    gains: list[float] = []
    run.add_event_handler(GMCLEvents.TEACHER_STEP_COMPLETED, lambda: steps.append(run.state.iteration))
    run.add_event_handler(IterationEvents.MODEL_COMPLETED, lambda: gains.append(run.teacher.gain.item()))
    run.run()
    assert steps == [4, 7, 10]
    assert [i + 2 for i in range(9) if gains[i] != gains[i + 1]] == steps


def test_the_norm_of_the_teachers_gradient_is_in_the_output(trainer: Build, gain_teacher: Any) -> None:
    teacher = gain_teacher()
    run = trainer(teacher=teacher, teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.25))
    gains: list[float] = []
    norms: list[float] = []

    @run.on(IterationEvents.MODEL_COMPLETED)
    def note() -> None:
        gains.append(teacher.gain.item())
        norms.append(run.state.output[0][GMCLKeys.TEACHER_GRAD_NORM])

    run.run()
    moved = [abs(b - a) / 0.25 for a, b in zip(gains, gains[1:], strict=False)]
    assert norms == pytest.approx([0.0, *moved], rel=1e-3)


def test_a_gradient_of_the_teacher_that_is_not_finite_skips_its_step_and_is_counted(
    trainer: Build, gain_teacher: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Burst(gain_teacher):  # type: ignore[misc, valid-type]
        def change(self, images: Any, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            return images + 0 * torch.sqrt(self.gain - self.gain) * latents  # type: ignore[no-any-return]

    run = trainer(teacher=Burst())
    completed: list[int] = []
    run.add_event_handler(GMCLEvents.TEACHER_STEP_COMPLETED, lambda: completed.append(run.state.iteration))
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() == gain
    assert run.teacher_step is not None and run.teacher_step.skipped == 9
    assert completed == []
    assert "not finite. Its step was skipped (9 so far)" in caplog.text


def test_at_difficulty_0_the_student_learns_from_its_sources_and_the_teacher_rests(trainer: Build) -> None:
    run = trainer(curriculum=Curriculum(difficulty=0.0))
    gain = run.teacher.gain.item()
    run.run()
    assert torch.equal(run.state.lesson.images, run.state.lesson.sources)
    assert run.teacher.gain.item() == gain
    assert run.teacher_step is not None and run.teacher_step.skipped == 0


def test_a_term_of_norm_0_is_left_out_and_hardness_seeks_what_the_student_finds_hard(
    trainer: Build, gain_teacher: Any
) -> None:
    class ZeroHypergradient(HeadHypergradient):
        def __call__(self, lessons: Any, look_ahead: Any) -> Any:
            hypergradient, worth = super().__call__(lessons, look_ahead)
            return torch.zeros_like(hypergradient), worth

    ends = []
    for hardness in (0.0, 1.0):
        teacher = gain_teacher()
        run = trainer(
            teacher=teacher,
            teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.1),
            hypergradient=ZeroHypergradient(),
            curriculum=Curriculum(hardness=hardness),
            epoch_length=2,
            max_epochs=1,
        )
        kept: list[Any] = []
        run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda run=run, kept=kept: kept.append(run.state.lesson))
        run.run()
        ends.append(teacher.gain.item())
    first = kept[0]
    harder = float((first.image_gradient * (first.images.detach() - first.sources)).sum())
    assert ends[0] == pytest.approx(0.1)
    # The changed images are sources + gain · noise: a larger gain is harder where the gradient points along the change.
    assert (ends[1] - 0.1) * harder > 0


def test_the_teachers_optimizer_may_train_a_part_of_it(trainer: Build, gain_teacher: Any) -> None:
    class Two(gain_teacher):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Parameter(torch.tensor(0.01))

        def change(self, images: Any, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            return super().change(images, labels, latents, difficulty) + self.offset  # type: ignore[no-any-return]

    teacher = Two()
    run = trainer(teacher=teacher, teacher_optimizer=torch.optim.Adam([teacher.offset], lr=0.01))
    gain, offset = teacher.gain.item(), teacher.offset.item()
    run.run()
    assert teacher.gain.item() == gain and teacher.offset.item() != offset
    assert teacher.gain.grad is None


class Given(Hypergradient):
    """Tells the worth that a test gives, and no gradient of images."""

    def __init__(self, worth: Tensor) -> None:
        self.given = worth

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([torch.zeros_like(lesson.images) for lesson in lessons]), self.given


@pytest.mark.parametrize(("difficulty", "proposed"), [(1.0, 0), (0.4, 0), (1.0, 3), (3.0, 3)])
def test_the_probability_of_flips_follows_what_images_with_and_without_them_were_worth(
    difficulty: float, proposed: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "gamma"]).double()
    latents = teacher.draw_latents(8, (1, 6, 6), generator).double()
    sources = torch.rand(8, 1, 6, 6, generator=generator, dtype=torch.float64)
    worth, weights = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    lesson = Lesson(
        sources=sources,
        labels=torch.zeros(8, dtype=torch.long),
        latents=latents,
        image_shape=(8, 1, 6, 6),
        difficulty=difficulty,
        lesson_weight=1.0,
        parameters={},
        buffers={},
        seed=0,
        num_pseudo_labeled=proposed,
        unlabeled_difficulty=0.25,
        weights=weights.abs(),
    )
    with torch.no_grad():
        teacher.log_odds.fill_(-0.3)
    generated = TeacherPass(teacher, True, torch.device("cpu")).generate(lesson)
    lesson.graph = LessonGraph(generated, generated.detach(), worth, worth, None, lambda *_: worth)
    optimizer = torch.optim.SGD(teacher.parameters(), lr=1.0)
    assert TeacherStep(teacher, optimizer, Ranks())(Given(worth), [lesson], {}, 0.0)

    # By hand: odds of a flip are exp(tanh-bounded log odds) times the difficulty, at most 1.
    down = math.log(50)
    log_share = down * math.tanh(-0.3 / down)
    slope = 1 - math.tanh(-0.3 / down) ** 2
    harder = [difficulty] * (8 - proposed) + [0.25 * difficulty] * proposed
    odds = torch.tensor([math.exp(log_share) * min(1.0, d) for d in harder], dtype=torch.float64)
    p = odds / (1 + odds)
    flipped = (latents[:, 0] < p).double()
    scores = weights.abs() * (worth - (weights.abs() * worth).sum() / weights.abs().sum())
    expected = -(scores / scores.norm() * (flipped - p) * slope).sum()
    assert flipped.any() and not flipped.all()
    assert teacher.log_odds.item() == pytest.approx(-0.3 - expected.item(), rel=1e-9)
    assert teacher.log_share.item() == 0


OLD_SIZES = {"policy": 12 + 14 + 32 + 1 + 3 * 8 * 8, "image": 12 + 32 + 3 * (16 + 64 + 256), "stain": 17}
TEACHERS = {"policy": PolicyTeacher, "image": ImageTeacher, "stain": StainTeacher}


def stopped_early(trainer: Build, name: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run of one epoch: the arguments of its trainer, and its state."""
    run = trainer(teacher=TEACHERS[name](2, 3, 2), max_epochs=1, **options)
    run.run()
    file = io.BytesIO()
    torch.save(run.state_dict(), file)
    file.seek(0)
    return options, torch.load(file, weights_only=True)


def went_on(trainer: Build, name: str, options: dict[str, Any], state: dict[str, Any]) -> GMCLTrainer:
    run = trainer(teacher=TEACHERS[name](2, 3, 2), max_epochs=2, **options)
    run.load_state_dict(state)
    run.state.max_epochs = 2
    return run


@pytest.mark.parametrize(("name", "lookback"), [("policy", 1), ("image", 2), ("stain", 1)])
def test_lessons_whose_latents_have_another_size_are_dropped_with_a_warning(
    name: str, lookback: int, trainer: Build, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"teacher_interval": lookback}
    if lookback > 1:
        options["hypergradient"] = UnrolledHypergradient(lookback)
    _, state = stopped_early(trainer, name, **options)
    lessons = state["gmcl"]["pending"]["lessons"]
    assert lessons
    lessons[-1]["latents"] = torch.zeros(len(lessons[-1]["labels"]), OLD_SIZES[name])
    with caplog.at_level(logging.WARNING):
        run = went_on(trainer, name, options, state)
    assert f"{len(lessons)} lesson(s) with latents (" in caplog.text and f", {OLD_SIZES[name]})" in caplog.text
    assert len(run.pending_lessons) == 0 and run.dropped_lessons == len(lessons)
    run.run()
    assert run.state.epoch == 2


def test_lessons_of_this_version_are_kept_without_a_warning(trainer: Build, caplog: pytest.LogCaptureFixture) -> None:
    options, state = stopped_early(trainer, "policy")
    run = went_on(trainer, "policy", options, state)
    before = torch.get_rng_state()
    run.load_state_dict(state)
    assert len(run.pending_lessons) == len(state["gmcl"]["pending"]["lessons"]) == 1
    assert run.dropped_lessons == 0 and "latents" not in caplog.text
    assert torch.equal(torch.get_rng_state(), before)


def test_lessons_of_a_plain_module_are_kept(trainer: Build) -> None:
    class Plain(nn.Module):
        def forward(self, images: Any, labels: Any, latents: Any, difficulty: float) -> Any:
            return images + self.gain * difficulty * latents[:, :1, None, None]

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.01))

    run = trainer(teacher=Plain(), max_epochs=1)
    run.run()
    other = trainer(teacher=Plain(), max_epochs=1)
    other.load_state_dict(run.state_dict())
    assert len(other.pending_lessons) == 1
