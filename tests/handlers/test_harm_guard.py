# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data.dataloader import DataLoader
from monai.engines import SupervisedEvaluator
from monai.handlers import ROCAUC, ValidationHandler, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose
from torch import Tensor, nn

from monai_gmcl import Curriculum, GMCLTrainer, LinearRamp, PolicyTeacher
from monai_gmcl.engines import GMCLEvents
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers import CheckpointKeeper, HarmGuard
from monai_gmcl.handlers.harm_guard import cosine
from monai_gmcl.teachers import Teacher

Make = Callable[..., GMCLTrainer]


class NoiseTeacher(Teacher):
    """Pure noise, whatever the label: the labels of its images are random."""

    needs_images = False

    def __init__(self) -> None:
        super().__init__(spatial_dims=2, in_channels=1, num_classes=2)
        self.idle = nn.Parameter(torch.zeros(1))

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, *image_shape, generator=generator)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        return latents + 0 * self.idle


def policy() -> PolicyTeacher:
    """Without what makes the labels of stripes false: a mirrored one has the other sign."""
    return PolicyTeacher(spatial_dims=2, in_channels=1, num_classes=2, exclude=["flip", "quarter_turn"])


def stripes(n: int, seed: int) -> list[dict[str, Any]]:
    """Noisy images with faint stripes, of opposite sign in the two classes."""
    labels = torch.arange(n) % 2
    pattern = 0.05 * torch.sin(torch.arange(12) * 1.2) * (2.0 * labels - 1)[:, None, None, None]
    noise = 0.15 * torch.randn(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    images = (0.5 + noise + pattern).clamp(0, 1)
    return [{"image": image, "label": int(label)} for image, label in zip(images, labels, strict=True)]


def train(
    seed: int, teacher: Teacher, guarded: bool, lesson_weight: float = 1.0, epochs: int = 8, **more: Any
) -> tuple[list[float], float]:
    """Train; return the lesson's weight after each validation, and the last validation's AUC."""
    torch.manual_seed(seed)
    student = nn.Sequential(nn.Conv2d(1, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(stripes(200, 99), batch_size=200),
        student,
        postprocessing=Compose([Activationsd("pred", softmax=True), AsDiscreted("label", to_onehot=2)]),
        key_val_metric={"auc": ROCAUC(output_transform=from_engine(["pred", "label"]))},
    )
    guards = [HarmGuard(evaluator)] if guarded else []
    trainer = GMCLTrainer(
        "cpu",
        epochs,
        DataLoader(stripes(128, seed), batch_size=8, shuffle=True),
        student,
        torch.optim.AdamW(student.parameters(), 2e-3),
        nn.CrossEntropyLoss(),
        train_handlers=[ValidationHandler(1, evaluator), *guards],
        teacher=teacher,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), 0.01),
        curriculum=Curriculum(lesson_weight=lesson_weight),
        seed=seed,
        **more,
    )
    weights: list[float] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: weights.append(trainer.curriculum.at(0.5).lesson_weight))
    trainer.run()
    return weights, float(evaluator.state.metrics["auc"])


@pytest.mark.gate
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 10))])
def test_noise_with_random_labels_loses_its_weight_and_does_no_harm(seed: int) -> None:
    weights, auc = train(seed, NoiseTeacher(), guarded=True)
    assert weights[4] <= 0.1
    assert weights == sorted(weights, reverse=True)
    _, without = train(seed, NoiseTeacher(), guarded=False, lesson_weight=0.0)
    assert abs(auc - without) <= 0.01


@pytest.mark.gate
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 6))])
def test_lessons_that_help_keep_their_weight(seed: int) -> None:
    weights, _ = train(seed, policy(), guarded=True, epochs=4)
    assert weights == [1.0] * 4


@pytest.mark.gate
@pytest.mark.parametrize(("teacher", "epochs", "low", "high"), [(policy, 3, 1.0, 1.0), (NoiseTeacher, 5, 0.0, 0.1)])
def test_lessons_from_unlabeled_images_are_guarded_as_others(
    teacher: Callable[[], Teacher], epochs: int, low: float, high: float
) -> None:
    unlabeled = [image for image, _ in DataLoader([(i["image"], 0) for i in stripes(128, 7)], batch_size=8)]
    weights, _ = train(0, teacher(), guarded=True, epochs=epochs, unlabeled_data_loader=unlabeled)
    assert low <= weights[-1] <= high


def validated(guard: HarmGuard, evaluator: Engine, scores: Sequence[float]) -> list[float]:
    """Let the evaluator report scores; return the share after each."""
    shares = []
    for score in scores:
        evaluator.state.metrics = {"auc": score}
        evaluator.fire_event(Events.COMPLETED)
        shares.append(guard.kept_weight)
    return shares


@pytest.fixture
def evaluator() -> Engine:
    return Engine(lambda engine, batch: None)


@pytest.mark.parametrize(
    ("scores", "shares"),
    [
        ([0.5, 0.9, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0.5, 0.5]),
        ([0.9, 0.8, 0.8, 0.86, 0.8, 0.8], [1, 1, 1, 1, 1, 1]),
        ([0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 0.5, 0.5, 0.5, 0.25]),
        ([0.9, math.nan, math.nan, math.nan], [1, 1, 1, 0.5]),
        ([math.nan, 0.1, 0.2, 0.3, 0.4], [1, 1, 1, 1, 1]),
    ],
)
def test_validations_below_the_running_best_take_weight(
    scores: list[float], shares: list[float], evaluator: Engine, make_trainer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    guard = HarmGuard(evaluator, margin=0.05, patience=3, factor=0.5, metric_name="auc")
    make_trainer([guard])
    assert validated(guard, evaluator, scores) == shares
    falls = [record.message for record in caplog.records if "The weight of lessons" in record.message]
    assert len(falls) == len(set(shares)) - 1
    if falls:
        assert (
            "below its best value, 0.9, in 3 validations in a row. The weight of lessons is reduced to 0.5" in falls[0]
        )


@pytest.mark.parametrize(
    ("real", "lesson", "lessons", "falls"),
    [
        (0.7, 0.52, 16, True),
        (0.7, 0.45, 16, True),
        (0.7, 0.55, 16, False),
        (0.58, 0.5, 16, False),
        (0.7, 0.5, 15, False),
    ],
)
def test_lessons_that_the_student_cannot_read_lose_weight_once_it_has_learned(
    real: float, lesson: float, lessons: int, falls: bool, evaluator: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    guard = HarmGuard(evaluator, metric_name="auc", least_agreement=-1.0)
    state = {"share": 1.0, "best": 0.9, "below": 0, "agreements": [0.9] * lessons}
    guard.load_state_dict({**state, "above_chance": [[real - 0.5, lesson - 0.5]] * lessons})
    evaluator.state.metrics = {"auc": 0.9}
    guard._judge(evaluator)
    assert guard.kept_weight == (0.3 if falls else 1.0)
    if falls:
        assert "The student does not recognize the lessons" in caplog.text
        assert "0.200 on real images. The weight of lessons is reduced to 0.3" in caplog.text


def test_accuracies_of_a_run_are_kept_above_chance(evaluator: Engine, make_trainer: Make) -> None:
    guard = HarmGuard(evaluator, metric_name="auc")
    trainer = make_trainer([guard])
    expected = []

    def look(engine: GMCLTrainer) -> None:
        values, labels = engine.state.curriculum, (engine.state.output["label"], engine.state.lesson.labels)
        halves = [1 - 2 * float(of.double().mean()) * (1 - float(of.double().mean())) for of in labels]
        expected.append((values["real_accuracy"] - halves[0], values["lesson_accuracy"] - halves[1]))

    trainer.add_event_handler(GMCLEvents.LESSON_COMPLETED, look)
    trainer.run()
    kept = guard.state_dict()["above_chance"]
    assert len(kept) > 3
    for pair, wanted in zip(kept, expected[-len(kept) :], strict=True):
        assert pair == pytest.approx(wanted)


@pytest.mark.parametrize("stop", [5, None])
def test_a_guard_sees_the_same_where_the_device_is_read_late(
    stop: int | None, evaluator: Engine, make_trainer: Make
) -> None:
    seen = []
    for every in (1, 4):
        guard = HarmGuard(evaluator, metric_name="auc")
        trainer = make_trainer([guard], curriculum=Curriculum(difficulty=1.0))
        trainer.late_reading.every = every
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=stop or 6), lambda t=trainer: t.terminate())
        trainer.run()
        seen.append(guard.state_dict())
    assert len(seen[0]["agreements"]) >= 5 and seen[0] == {**seen[1], "above_chance": seen[0]["above_chance"]}
    assert all(late == pytest.approx(pair) for pair, late in zip(*(s["above_chance"] for s in seen), strict=True))


@pytest.mark.parametrize("planned", [0.8, LinearRamp(0.8, 0.8)])
def test_the_share_multiplies_whatever_weight_was_planned(planned: Any, evaluator: Engine, make_trainer: Make) -> None:
    guard = HarmGuard(evaluator, patience=1, factor=0.25, metric_name="auc")
    trainer = make_trainer([guard], curriculum=Curriculum(lesson_weight=planned))
    assert trainer.curriculum.at(0.5).lesson_weight == 0.8
    with pytest.warns(DeprecationWarning, match="HarmGuard.share is now called kept_weight"):
        assert guard.share == guard.kept_weight == 1
    validated(guard, evaluator, [0.9, 0.5])
    assert trainer.curriculum.at(0.5).lesson_weight == pytest.approx(0.2)
    trainer.run()
    assert trainer.state.curriculum["lesson_weight"] == pytest.approx(0.2)


def test_what_falls_below_a_hundredth_is_nothing_and_no_lesson_is_drawn(evaluator: Engine, make_trainer: Make) -> None:
    guard = HarmGuard(evaluator, patience=1, factor=0.2, metric_name="auc")
    trainer = make_trainer([guard])
    assert validated(guard, evaluator, [0.9, 0.5, 0.5, 0.5, 0.5]) == pytest.approx([1, 0.2, 0.04, 0, 0])
    trainer.run()
    assert trainer.state.lesson is None


def test_a_resumed_guard_goes_on(evaluator: Engine, make_trainer: Make, tmp_path: Path) -> None:
    first = HarmGuard(evaluator, patience=2, least_agreement=1.0, metric_name="auc")
    run = make_trainer([first, CheckpointKeeper(tmp_path, {"guard": first})])
    run.add_event_handler(Events.EPOCH_COMPLETED, lambda: validated(first, evaluator, [0.9]))
    run.run()
    assert first.kept_weight == pytest.approx(0.09)
    second = HarmGuard(evaluator, patience=2, least_agreement=1.0, metric_name="auc")
    again = make_trainer([second, CheckpointKeeper(tmp_path, {"guard": second}, resume=True)])
    again.run()
    assert second.state_dict() == first.state_dict()
    assert again.curriculum.at(0).lesson_weight == pytest.approx(0.09)


@pytest.mark.parametrize(
    "arguments", [{"margin": -0.1}, {"patience": 0}, {"least_agreement": 2.0}, {"factor": 1.0}, {"factor": -0.5}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], evaluator: Engine) -> None:
    with pytest.raises(ConfigurationError, match="HarmGuard: expected margin >= 0"):
        HarmGuard(evaluator, **arguments)


def test_an_engine_without_lessons_is_refused(evaluator: Engine) -> None:
    with pytest.raises(ConfigurationError, match="Engine without a curriculum; expected a GMCLTrainer"):
        HarmGuard(evaluator).attach(Engine(lambda engine, batch: None))  # type: ignore[arg-type]


def test_the_cosine_of_gradients_goes_over_the_names_that_both_have() -> None:
    first = {"a": torch.tensor([[3.0], [0.0]]), "b": torch.tensor([4.0]), "frozen": torch.ones(5)}
    second = {"a": torch.tensor([[1.0], [1.0]]), "b": torch.tensor([0.0])}
    assert cosine(first, second) == pytest.approx(3 / (5 * math.sqrt(2)))
    assert cosine(second, first) == pytest.approx(3 / (5 * math.sqrt(2)))
    assert cosine(first, {}) == 0 and cosine(first, {"b": torch.zeros(1)}) == 0
