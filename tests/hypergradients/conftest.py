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

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from monai.losses import FocalLoss
from torch import Tensor, nn

from monai_gmcl import (
    Curriculum,
    ExactHypergradient,
    GMCLTrainer,
    Hypergradient,
    Lesson,
)
from monai_gmcl.engines.student_pass import StudentPass
from monai_gmcl.teachers import Teacher


class PixelTeacher(Teacher):
    """Images from learned pixels: every pixel of a lesson can be moved on its own."""

    def __init__(self) -> None:
        super().__init__(spatial_dims=2, in_channels=2, num_classes=3)
        self.gain = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, *image_shape, generator=generator, dtype=torch.float64)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        assert images is not None
        return 0.5 * images + self.gain * latents


class SmoothStudent(nn.Module):
    """Convolution, batch normalization, SiLU, average pooling, dropout and a linear head: no kinks."""

    def __init__(self, outputs: int = 3, bias: bool = True, head: str = "linear") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(), nn.AvgPool2d(2))
        self.dropout = nn.Dropout(0.3)
        self.kind = head
        self.head = nn.Linear(4, outputs, bias=bias) if head == "linear" else nn.Conv2d(4, outputs, 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        features = self.dropout(self.body(images))
        logits: Tensor = self.head(features.mean((2, 3))) if self.kind == "linear" else self.head(features).mean((2, 3))
        return logits


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax focal loss in the logits' own precision, a mean over images."""
    log_p = logits.log_softmax(1).gather(1, labels[:, None])
    return (-((1 - log_p.exp()) ** 2) * log_p).mean()


LOSSES: dict[str, tuple[Callable[..., Tensor], str]] = {
    "cross-entropy": (nn.CrossEntropyLoss(), "classes"),
    "class weights": (nn.CrossEntropyLoss(weight=torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)), "classes"),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    "focal": (focal_loss, "classes"),
    "MONAI's focal": (FocalLoss(to_onehot_y=True, use_softmax=True), "column"),
    "one logit": (nn.BCEWithLogitsLoss(), "one"),
    "multi-label": (nn.BCEWithLogitsLoss(), "multi"),
}


def labels_of(kind: str, n: int) -> Tensor:
    classes = torch.arange(n) % 3
    if kind == "classes":
        return classes
    if kind == "column":
        return classes[:, None]
    multi = torch.nn.functional.one_hot(classes, 3).double()
    return multi[:, :1] if kind == "one" else multi


class Spy(Hypergradient):
    """Keeps what the trainer hands to its estimator at the last teacher step; teaches as the exact one would."""

    needs_real_step = True

    def __init__(self, lookback: int = 1) -> None:
        self.lookback = lookback
        self.lessons: list[Lesson] = []
        self.look_ahead: dict[str, Tensor] = {}
        self.calls = 0

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        self.lessons, self.calls = list(lessons), self.calls + 1
        self.look_ahead = {name: v.clone() for name, v in look_ahead.items()}
        found = [ExactHypergradient()([lesson], look_ahead) for lesson in lessons]
        return torch.cat([x for x, _ in found]), torch.cat([s for _, s in found])


class HeadSpy(Spy):
    """A spy that also notes what the head saw."""

    def watch(self, network: nn.Module, trained: Sequence[str]) -> Any:
        from monai_gmcl import HeadHypergradient

        return HeadHypergradient().watch(network, trained)


def train_and_spy(
    optimizer: str,
    steps: int = 4,
    loss: str = "cross-entropy",
    lookback: int = 1,
    student: SmoothStudent | None = None,
    only_head: bool = False,
    real_weight: float = 0.7,
    lesson_weight: float = 1.3,
) -> tuple[Spy, GMCLTrainer]:
    """Train a few steps in float64 and return what the teacher's last step was told."""
    torch.manual_seed(0)
    loss_function, kind = LOSSES[loss]
    student = SmoothStudent(outputs=1 if kind == "one" else 3) if student is None else student
    student.double()
    trained = student.head.parameters() if only_head else student.parameters()
    images = torch.rand(32, 2, 6, 6, dtype=torch.float64)
    data = torch.utils.data.TensorDataset(images, labels_of(kind, 32))
    teacher = PixelTeacher().double()
    spy = HeadSpy(lookback)
    trainer = GMCLTrainer(
        device="cpu",
        max_epochs=1,
        epoch_length=steps * lookback + 1,
        train_data_loader=torch.utils.data.DataLoader(data, batch_size=5, shuffle=True),
        network=student,
        optimizer=OPTIMIZERS[optimizer](list(trained)),
        loss_function=loss_function,
        decollate=False,
        teacher=teacher,
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.01),
        curriculum=Curriculum(real_weight=real_weight, lesson_weight=lesson_weight, difficulty=1.0),
        hypergradient=spy,
        teacher_interval=lookback,
        seed=3,
    )
    trainer.run()
    assert spy.calls >= steps - 1
    return spy, trainer


@pytest.fixture
def spied() -> Callable[..., tuple[Spy, GMCLTrainer]]:
    """Run a float64 training and give back what its last teacher step was told."""
    return train_and_spy


@pytest.fixture
def relative() -> Callable[[Tensor, Tensor], float]:
    """Largest deviation of two tensors, relative to the length of the second."""
    return lambda found, wanted: float((found - wanted).norm() / wanted.norm())


@pytest.fixture
def true_step() -> Callable[..., Callable[[list[Tensor], list[Tensor]], Tensor]]:
    """Brute force: torch's own optimizer takes the lessons' steps once more on images that a test may move."""

    def build(spy: Spy, trainer: GMCLTrainer, name_of_optimizer: str) -> Callable[[list[Tensor], list[Tensor]], Tensor]:
        student_pass: StudentPass = trainer.student

        def look_ahead_term(images: list[Tensor], weights: list[Tensor]) -> Tensor:
            first = spy.lessons[0]
            parameters = {name: nn.Parameter(p.detach().clone()) for name, p in first.parameters.items()}
            optimizer = OPTIMIZERS[name_of_optimizer](list(parameters.values()))
            assert first.real_step is not None
            for name, parameter in parameters.items():
                kept = first.real_step.optimizer_state[name]
                optimizer.state[parameter] = {k: v.clone() if isinstance(v, Tensor) else v for k, v in kept.items()}
            for lesson, x, w in zip(spy.lessons, images, weights, strict=True):
                step = lesson.real_step
                assert step is not None
                real = student_pass(parameters, lesson.buffers, step.images, step.labels, step.seed)[1].mean()
                taught = (w * student_pass(parameters, lesson.buffers, x, lesson.labels, lesson.seed)[1]).mean()
                optimizer.zero_grad()
                (step.real_weight * real + lesson.lesson_weight * taught).backward()
                optimizer.step()
            return sum((parameters[n].detach() * v).sum() for n, v in spy.look_ahead.items())  # type: ignore[return-value]

        return look_ahead_term

    return build


@pytest.fixture
def smooth_student() -> type[SmoothStudent]:
    """The smooth student's class."""
    return SmoothStudent
