# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Training of one student by one arm, with the same network, schedule and validation for all arms."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.engines.trainer import Trainer
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, RandomSampler

from monai_gmcl.benchmark.data_sets import DataOptions, Images
from monai_gmcl.benchmark.flops import FlopCounter
from monai_gmcl.benchmark.label_kinds import LabelKind, class_probabilities, kind_of
from monai_gmcl.engines import GMCLTrainer

__all__ = ["Setup", "StudentRun", "peak_resident_bytes"]

EMA_MOMENTUM = 0.01
EVALUATIONS = 20
"""Looks at the choosing images in a run."""


@dataclass(frozen=True)
class Setup:
    """The inputs from which an arm builds its trainer.

    Attributes:
        options: how the data set is read, and its modality.
        labeled: training images ``(N, C, ...)`` with labels ``(N,)`` or masks ``(N, 1, ...)``.
        device: device of student, teacher and generator; images are moved to it in batches.
        seed: seed of all random numbers.
        steps: number of student steps.
        network: the student, from images to logits.
        optimizer: the student's optimizer.
        strength: strength of the arm's augmentation, if it is tuned, or the relative length of its GAN training.
        choosing: validation images and labels, which select the best checkpoint.
        unlabeled: unlabeled images; their labels are for measurements only.
        spent: cost of the arm before its trainer is built, which the arm sets.
    """

    options: DataOptions
    labeled: Images
    device: torch.device
    seed: int
    steps: int
    network: nn.Module
    optimizer: AdamW
    strength: float = 1.0
    choosing: Images | None = None
    unlabeled: Images | None = None
    spent: dict[str, float] = field(default_factory=lambda: {"student_passes": 0.0, "flops": 0.0})

    @property
    def kind(self) -> LabelKind:
        """The functions that depend on the kind of labels."""
        return kind_of(self.options)

    def augmentation(self, name: str, strength: float = 1.0) -> Callable[..., Any]:
        """Return the transforms of ``standard``, ``strong`` or ``trivial`` training for these labeled images."""
        return self.kind.augmentation(name, self.options, self.labeled[0], strength)

    def arguments(self, augmentation: Callable[[Any], Any], *known: Tensor) -> dict[str, Any]:
        """Return the arguments that ``SupervisedTrainer`` and ``GMCLTrainer`` share.

        Images ``(C, ...)`` are augmented individually; images with masks are dictionaries of ``image`` and ``label``.
        ``known`` are further values of each image, which are added to the batch after the labels.
        """
        data = self.kind.augmented(self.labeled[0], augmentation, self.seed, self.labeled[1], *known)
        # Shuffled passes are joined, so that every batch is full and a run has the exact number of steps for any N.
        sampler = RandomSampler(data, num_samples=self.steps * self.kind.batch)
        return {
            "device": self.device,
            "max_epochs": 1,
            "train_data_loader": DataLoader(data, batch_size=self.kind.batch, sampler=sampler),
            "network": self.network,
            "optimizer": self.optimizer,
            "loss_function": self.kind.loss(),
            "decollate": False,
        }


class StudentRun:
    """Trains a student; keeps best-validation and last checkpoint, each with raw and averaged weights (EMA).

    ``seen`` has the images of the student's last step, for each pass.

    AdamW with a one-cycle schedule, 32 real images a step, or 8 with masks. The metric on the choosing images is read
    20 times in a run: the more often, the more a small validation set chooses by luck. Arguments are those of
    :class:`Setup`, ``build``, which makes the arm's trainer, the highest learning rate of the schedule, and
    ``make_network``, which makes the student, images to logits ``(B, K, ...)``; the last two by the kind of labels.
    """

    def __init__(
        self,
        build: Callable[[Setup], Trainer],
        options: DataOptions,
        labeled: Images,
        choosing: Images,
        seed: int,
        steps: int,
        strength: float = 1.0,
        unlabeled: Images | None = None,
        device: str | torch.device = "cpu",
        learning_rate: float | None = None,
        make_network: Callable[[DataOptions], nn.Module] | None = None,
    ) -> None:
        self.options, self.kind = options, kind_of(options)
        learning_rate = learning_rate or self.kind.learning_rate
        # Counted from here, because an arm may train other networks before its trainer is built.
        self.device = torch.device(device)
        self._began = time.perf_counter(), time.process_time(), _peak_bytes(self.device)
        torch.manual_seed(seed)
        self.choosing = choosing
        self.steps = steps
        self.network = (make_network or self.kind.network)(options).to(self.device)
        optimizer = AdamW(self.network.parameters(), lr=learning_rate)
        own = self.device, seed, steps, self.network, optimizer
        setup = Setup(options, labeled, *own, strength, choosing, unlabeled)
        self.trainer = build(setup)
        self.spent = setup.spent
        self.flops_per_step, self.passes_per_step = 0.0, 0
        # Before other handlers, which are not part of the trainer. The third step is representative of later steps.
        self._counter = FlopCounter()
        self.trainer.add_event_handler(Events.ITERATION_STARTED(once=3), self._start_counting)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), self._stop_counting)
        self.seen: list[Tensor] = []
        self.trainer.add_event_handler(Events.ITERATION_STARTED(once=steps), self._start_watching)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=steps), lambda: self._watch.remove())
        # With a warm-up, because running variances start at 1, far above their final values.
        warm_up = round(1 / EMA_MOMENTUM)
        averaged = EMAHandler(self.network, EMA_MOMENTUM, 0.5, warm_up, handle_buffers="update")
        self.networks = {"": self.network, "ema_": averaged.ema_model}
        # One step more than the run has, because ignite's last event comes after the last step.
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
        averaged.attach(self.trainer, event=Events.ITERATION_COMPLETED)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=max(1, steps // EVALUATIONS)), self._choose)
        self.weights: dict[str, dict[str, Tensor]] = {}
        self.valid_scores: dict[str, float] = {}
        self.cost: dict[str, float] = {}

    def run(self) -> None:
        """Train; fills ``weights`` and ``valid_scores`` by ``chosen``, ``final``, ``ema_chosen``, ``ema_final``."""
        self.trainer.run()
        self.cost = {
            "wall_seconds": time.perf_counter() - self._began[0],
            "cpu_seconds": time.process_time() - self._began[1],
            "student_passes": self.passes_per_step * self.steps + self.spent["student_passes"],
            "flops": self.flops_per_step * self.steps + self.spent["flops"],
            "peak_memory_bytes": _peak_bytes(self.device) - self._began[2],
        }
        for prefix, network in self.networks.items():
            self._keep(f"{prefix}final", network, self._score(network)[0])

    def probabilities(self, which: str, images: Tensor) -> Tensor:
        """Return the class probabilities ``(N, K)`` of images ``(N, C, ...)`` with one of the saved weights."""
        return class_probabilities(self.with_weights(which), images)

    def measures(self, which: str, images: Images) -> dict[str, float]:
        """Return the metrics of one of the saved weights on labeled images."""
        return self.kind.measures(self.with_weights(which), images, self.options)

    def with_weights(self, which: str) -> nn.Module:
        """Return the student in evaluation mode with one of the saved weights."""
        self.network.load_state_dict(self.weights[which])
        return self.network.eval()

    def _start_counting(self) -> None:
        self._hook = self.network.register_forward_pre_hook(self._count_images)
        self._counter.__enter__()  # type: ignore[no-untyped-call]

    def _stop_counting(self) -> None:
        self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._hook.remove()
        self.flops_per_step = float(self._counter.total)

    def _count_images(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.passes_per_step += len(inputs[0])

    def _start_watching(self) -> None:
        self._watch = self.network.register_forward_pre_hook(
            lambda _, inputs: self.seen.append(inputs[0].detach().cpu())
        )

    def _score(self, network: nn.Module) -> tuple[float, float]:
        return self.kind.score(network, self.choosing, self.options)

    def _choose(self) -> None:
        for prefix, network in self.networks.items():
            score, accuracy = self._score(network)
            if not prefix and isinstance(self.trainer, GMCLTrainer):
                # As in the handler UnseenAccuracy, at each validation.
                self.trainer.curriculum.observe_unseen(accuracy)
            if score > self.valid_scores.get(f"{prefix}chosen", -1.0):
                self._keep(f"{prefix}chosen", network, score)

    def _keep(self, name: str, network: nn.Module, score: float) -> None:
        self.valid_scores[name] = score
        self.weights[name] = {key: value.clone() for key, value in network.state_dict().items()}


def peak_resident_bytes() -> int:
    """Return the peak memory of this process (Linux)."""
    # Not ru_maxrss, which starts at the peak of the parent process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _peak_bytes(device: torch.device) -> int:
    """Return the peak memory of the process, or its peak memory on the GPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()
