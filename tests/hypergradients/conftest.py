# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.inferers import SimpleInferer
from monai.losses import FocalLoss
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.nn import functional as F

from monai_gmcl import (
    Curriculum,
    ExactHypergradient,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    Lesson,
    LessonWeighting,
)
from monai_gmcl.lesson import HeadActivation
from monai_gmcl.teachers import Teacher

REAL_WEIGHT, LESSON_WEIGHT = 0.7, 1.3
RATE_DECAY = 0.9
"""A scheduler moves η right after each step: what an estimator reads must be older than that."""
WIDTH = 1e-3
"""Of the central differences, which are of fourth order."""
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


class PixelTeacher(Teacher):
    """Adds learned noise to its sources."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(spatial_dims=2, in_channels=2, num_classes=num_classes)
        self.gain = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, *image_shape, generator=generator, dtype=torch.float64)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        assert images is not None
        return 0.5 * images + self.gain * latents


class SmoothStudent(nn.Module):
    """Convolutions, batch normalization, SiLU, average pooling, dropout and a head: no kinks."""

    def __init__(self, outputs: int = 3, bias: bool = True, head: str = "linear") -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.SiLU(),
            nn.AvgPool2d(2),
            nn.Dropout(0.3),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.BatchNorm2d(5),
            nn.SiLU(),
            nn.Dropout(0.3),
        )
        self.head = nn.Linear(5, outputs, bias=bias) if head == "linear" else nn.Conv2d(5, outputs, 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        if isinstance(self.head, nn.Linear):
            return self.head(features.mean((2, 3)))  # type: ignore[no-any-return]
        return self.head(features).mean((2, 3))  # type: ignore[no-any-return]


class LinearStudent(nn.Sequential):
    """One linear layer from pixels to one output: with a squared loss, everything has a closed form."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten())
        self.head = nn.Linear(2 * 2 * 2, 1)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "adam, decoupled": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.01),
}


def squared_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """A user's plain function."""
    return (outputs - labels).square().mean() / 2


@dataclass
class Loss:
    """A loss function, the labels that it takes, and ``Σᵢ ωᵢ ℓᵢ / n`` of it written out by hand."""

    function: Callable[..., Tensor]
    kind: str
    weighted: Callable[[Tensor, Tensor, Tensor], Tensor]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.logsumexp(1) - logits[range(len(labels)), labels]


def _binary(logits: Tensor, labels: Tensor) -> Tensor:
    return (F.softplus(logits) - labels * logits).mean(1)


def _focal(logits: Tensor, labels: Tensor) -> Tensor:
    loss = _cross_entropy(logits, labels[:, 0])
    return (1 - (-loss).exp()) ** 2 * loss / logits.shape[1]


def _smoothed(logits: Tensor, labels: Tensor) -> Tensor:
    return 0.9 * _cross_entropy(logits, labels) + 0.1 * (logits.logsumexp(1) - logits.mean(1))


def _class_weighted(logits: Tensor, labels: Tensor, omega: Tensor) -> Tensor:
    weights = CLASS_WEIGHTS[labels]
    return (omega * weights * _cross_entropy(logits, labels)).sum() / weights.sum()


LOSSES: dict[str, Loss] = {
    "cross-entropy": Loss(nn.CrossEntropyLoss(), "classes", lambda p, y, w: (w * _cross_entropy(p, y)).mean()),
    "class weights": Loss(nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), "classes", _class_weighted),
    "label smoothing": Loss(
        nn.CrossEntropyLoss(label_smoothing=0.1), "classes", lambda p, y, w: (w * _smoothed(p, y)).mean()
    ),
    "focal": Loss(FocalLoss(to_onehot_y=True, use_softmax=True), "column", lambda p, y, w: (w * _focal(p, y)).mean()),
    "one logit": Loss(nn.BCEWithLogitsLoss(), "one", lambda p, y, w: (w * _binary(p, y)).mean()),
    "multi-label": Loss(nn.BCEWithLogitsLoss(), "multi", lambda p, y, w: (w * _binary(p, y)).mean()),
    "squared": Loss(squared_loss, "one", lambda p, y, w: (w * (p - y)[:, 0].square()).mean() / 2),
}


def labels_of(kind: str, n: int) -> Tensor:
    classes = torch.arange(n) % 3
    if kind == "classes":
        return classes
    if kind == "column":
        return classes[:, None]
    multi = F.one_hot(classes, 3).double()
    return multi[:, :1] if kind == "one" else multi


class FixedWeighting(LessonWeighting):
    """Weights an image by its place."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        return torch.linspace(0.2, 1.9, len(lesson), dtype=torch.float64)


class Spy(Hypergradient):
    """Keeps what the trainer hands to its estimator at each teacher step; teaches as the exact one would."""

    needs_real_step = True

    def __init__(self, lookback: int = 1) -> None:
        self.lookback = lookback
        self.heard: list[tuple[list[Lesson], dict[str, Tensor]]] = []

    def record_head(self, network: nn.Module, trained: Sequence[str]) -> Any:
        return HeadHypergradient().record_head(network, trained)

    def choose(self, seen: Sequence[HeadActivation], outputs: Tensor, losses: Tensor) -> HeadActivation:
        return HeadHypergradient().choose(seen, outputs, losses)

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        self.heard.append((list(lessons), {name: v.clone() for name, v in look_ahead.items()}))
        found = [ExactHypergradient()([lesson], look_ahead) for lesson in lessons]
        return torch.cat([x for x, _ in found]), torch.cat([s for _, s in found])


class Tape(SimpleInferer):
    """Notes the images of each pass of the student and where torch's generator stood."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[Tensor, Tensor]] | None = []

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.passes is not None:
            self.passes.append((inputs.detach().clone(), torch.get_rng_state()))
        return super().__call__(inputs, network, *args, **kwargs)


@dataclass
class WitnessedStep:
    """One step of the student as an onlooker saw it: student and optimizer before it, and what both passes saw."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    real_images: Tensor
    real_state: Tensor
    images: Tensor
    state: Tensor
    real_labels: Tensor = torch.empty(0)
    labels: Tensor = torch.empty(0)
    weights: Tensor = torch.empty(0)


class Witness:
    """A float64 training by the real trainer, and all that is needed to take its steps once more without it."""

    def __init__(
        self,
        optimizer: str = "sgd",
        loss: str = "cross-entropy",
        steps: int = 4,
        lookback: int = 1,
        student: nn.Module | None = None,
        only_head: bool = False,
        size: int = 6,
    ) -> None:
        torch.manual_seed(0)
        self.loss = LOSSES[loss]
        outputs = 1 if self.loss.kind == "one" else 3
        self.network = (SmoothStudent(outputs) if student is None else student).double()
        head = [p for name, p in self.network.named_parameters() if name.startswith("head")]
        body = [p for name, p in self.network.named_parameters() if not name.startswith("head")]
        groups = [{"params": head}] if only_head or not body else [{"params": body}, {"params": head, "lr": 0.02}]
        data = torch.utils.data.TensorDataset(
            torch.rand(32, 2, size, size, dtype=torch.float64), labels_of(self.loss.kind, 32)
        )
        teacher = PixelTeacher(outputs).double()
        self.spy, self.tape, self.steps = Spy(lookback), Tape(), list[WitnessedStep]()
        self.trainer = GMCLTrainer(
            device="cpu",
            max_epochs=1,
            epoch_length=steps + 1,
            train_data_loader=torch.utils.data.DataLoader(data, batch_size=5, shuffle=True),
            network=self.network,
            optimizer=OPTIMIZERS[optimizer](groups),
            loss_function=self.loss.function,
            inferer=self.tape,
            decollate=False,
            teacher=teacher,
            teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.01),
            curriculum=Curriculum(real_weight=REAL_WEIGHT, lesson_weight=LESSON_WEIGHT, difficulty=1.0),
            hypergradient=self.spy,
            weighting=FixedWeighting(),
            teacher_interval=lookback,
            seed=3,
        )
        self.trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._before_step)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        self.trainer.run()
        self.tape.passes = None
        assert len(self.spy.heard) == steps // lookback and len(self.steps) == steps + 1

    def _before_step(self, engine: Engine) -> None:
        network, optimizer = copy.deepcopy((self.network, self.trainer.optimizer))
        assert self.tape.passes is not None
        (real_images, real_state), (images, state) = self.tape.passes[-2:]
        self.steps.append(WitnessedStep(network, optimizer, real_images, real_state, images, state))

    def _after_step(self, engine: Engine) -> None:
        step, lesson = self.steps[-1], engine.state.lesson
        step.real_labels, step.labels, step.weights = engine.state.output[Keys.LABEL], lesson.labels, lesson.weights
        for group in self.trainer.optimizer.param_groups:
            group["lr"] *= RATE_DECAY

    def heard(self, call: int = -1) -> tuple[list[Lesson], dict[str, Tensor]]:
        """Return the lessons and v of one of the teacher's steps."""
        return self.spy.heard[call]

    def taken(self, call: int = -1) -> list[WitnessedStep]:
        """Return the student's steps of which the teacher heard at that step."""
        last = range(len(self.spy.heard))[call] * self.spy.lookback
        return self.steps[last : last + self.spy.lookback]

    def redo(
        self, call: int = -1, images: list[Tensor] | None = None, weights: list[Tensor] | None = None
    ) -> nn.Module:
        """Take those steps once more with torch's own optimizer, on other images or weights; return the student."""
        steps = self.taken(call)
        images = [step.images for step in steps] if images is None else images
        weights = [step.weights for step in steps] if weights is None else weights
        network, optimizer = copy.deepcopy((steps[0].network, steps[0].optimizer))
        with torch.random.fork_rng(devices=[]):
            for step, x, omega in zip(steps, images, weights, strict=True):
                for group, seen in zip(optimizer.param_groups, step.optimizer.param_groups, strict=True):
                    group["lr"] = seen["lr"]
                optimizer.zero_grad()
                torch.set_rng_state(step.real_state)
                real = self.loss.weighted(network(step.real_images), step.real_labels, torch.ones(len(x)))
                torch.set_rng_state(step.state)
                taught = self.loss.weighted(network(x), step.labels, omega)
                (REAL_WEIGHT * real + LESSON_WEIGHT * taught).backward()
                optimizer.step()
        return network

    def after(self, call: int = -1) -> WitnessedStep:
        """Return the step whose real batch is the look-ahead batch."""
        return self.steps[range(len(self.spy.heard))[call] * self.spy.lookback + self.spy.lookback]

    def look_ahead_loss(self, network: nn.Module, call: int = -1) -> Tensor:
        """Return the student's loss on the real batch that came after those steps."""
        ahead = self.after(call)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(ahead.real_state)
            outputs = network(ahead.real_images)
        return self.loss.weighted(outputs, ahead.real_labels, torch.ones(len(outputs)))

    def slope(self, index: int, images: Tensor | None = None, weights: Tensor | None = None, call: int = -1) -> float:
        """Return how fast the look-ahead loss changes when one lesson's images or weights move along a direction."""
        lessons = self.taken(call)

        def loss(distance: float) -> float:
            moved_images, moved_weights = [step.images for step in lessons], [step.weights for step in lessons]
            if images is not None:
                moved_images[index] = moved_images[index] + distance * images
            if weights is not None:
                moved_weights[index] = moved_weights[index] + distance * weights
            return float(self.look_ahead_loss(self.redo(call, moved_images, moved_weights), call).detach())

        near, far = loss(WIDTH) - loss(-WIDTH), loss(2 * WIDTH) - loss(-2 * WIDTH)
        return (8 * near - far) / (12 * WIDTH) / LESSON_WEIGHT

    def pixels(self, hypergradient: Tensor, count: int, call: int = -1) -> tuple[Tensor, Tensor]:
        """Return a hypergradient's values at random pixels of each lesson, and what moving these pixels does."""
        generator = torch.Generator().manual_seed(1)
        found, slopes = [], []
        for index, part in enumerate(hypergradient.split([len(step.images) for step in self.taken(call)])):
            for place in torch.randperm(part.numel(), generator=generator)[:count].tolist():
                pixel = torch.zeros(part.numel(), dtype=torch.float64)
                pixel[place] = 1.0
                found.append(float(part.flatten()[place]))
                slopes.append(self.slope(index, images=pixel.view_as(part), call=call))
        return torch.tensor(found, dtype=torch.float64), torch.tensor(slopes, dtype=torch.float64)


@pytest.fixture(scope="session")
def witness() -> Callable[..., Witness]:
    """A float64 training by the real trainer, and all that is needed to take its steps once more; one for all tests."""
    return functools.cache(Witness)


@pytest.fixture
def relative() -> Callable[[Tensor, Tensor], float]:
    """Deviation of two tensors, relative to the length of the second."""
    return lambda found, wanted: float((found - wanted).norm() / wanted.norm())


@pytest.fixture
def smooth_student() -> type[SmoothStudent]:
    """The smooth student's class."""
    return SmoothStudent


@pytest.fixture
def linear_student() -> type[LinearStudent]:
    """The linear student's class."""
    return LinearStudent


@pytest.fixture
def float64_focal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MONAI's FocalLoss, which rounds to float32 whatever it is given, keep float64."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
