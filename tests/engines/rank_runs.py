# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of GMCL on several ranks, and on one process with the joined batches. As a script: one rank of all cases.

Arguments: folder for the results, index of this rank, number of ranks, file in which the ranks meet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.losses import DiceCELoss
from torch import Tensor, nn

from monai_gmcl import Curriculum, GMCLTrainer, PolicyTeacher
from monai_gmcl.benchmark.host_traffic import DEVICE
from monai_gmcl.benchmark.step_traffic import traffic_of_steps
from monai_gmcl.curriculum import ClassSampler
from monai_gmcl.engines import trainer as trainer_module
from monai_gmcl.engines.batches import RealBatch, derive_seed
from monai_gmcl.engines.lesson_sources import LessonSources, SourceBuffer, Sources
from monai_gmcl.handlers import CheckpointKeeper
from monai_gmcl.hypergradients import ExactHypergradient, FiniteDifferenceHypergradient, HeadHypergradient
from monai_gmcl.teachers.base import draw_latents
from monai_gmcl.weighting import LookAheadWeighting, PseudoLabeler

SEED = 5
CLASSES = 3
BATCHES = 10
EPOCHS = 5
SIZES = (4, 3)
"""Images of a batch on each rank."""
LAST = (4, 1)
"""And of the last one of an epoch."""


@dataclass(frozen=True)
class Case:
    """A way to train; ``wrapped``: in DistributedDataParallel, where there are ranks."""

    estimator: type = HeadHypergradient
    optimizer: str = "SGD"
    dtype: torch.dtype = torch.float64
    hardness: float = 0.0
    weighed: type | None = None
    meta: bool = False
    accumulation: int = 1
    wrapped: bool = False
    normalized: bool = False
    unlabeled: bool = False
    masks: bool = False


CASES = {
    "head": Case(),
    "exact": Case(ExactHypergradient, "Adam"),
    "hard": Case(ExactHypergradient, "AdamW", hardness=0.5),
    "weighed": Case(optimizer="Adam", weighed=FiniteDifferenceHypergradient),
    "weighed by the head": Case(optimizer="Adam", weighed=HeadHypergradient),
    "meta": Case(meta=True),
    "accumulated": Case(optimizer="Adam", accumulation=3),
    "wrapped": Case(optimizer="Adam", wrapped=True),
    "single precision": Case(dtype=torch.float32),
    "masks": Case(masks=True),
    "masks, hard": Case(ExactHypergradient, "Adam", hardness=0.5, accumulation=3, masks=True),
    "masks, weighed by the head": Case(optimizer="Adam", weighed=HeadHypergradient, wrapped=True, masks=True),
}
RUNNING_STATISTICS = Case(normalized=True)
"""Batches are normalized by each rank's own, so that the joined ones are others."""

UNLABELED = Case(dtype=torch.float32, unlabeled=True)
UNLABELED_MASKS = replace(UNLABELED, masks=True)
"""Each rank has unlabeled images of its own, of which one process would take the batches in another order."""

ALL_EXCHANGED = replace(UNLABELED, optimizer="Adam", weighed=FiniteDifferenceHypergradient, meta=True)
"""Ranks exchange all that they can exchange."""


def batches(rank: int | None, case: Case, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Batches of one rank, or the joined ones."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for index in range(BATCHES):
        parts = []
        for size in LAST if index == BATCHES - 1 else SIZES:
            blocks = (1, 2, 2) if case.masks else ()
            labels = torch.randint(CLASSES, (size, *blocks), generator=generator)
            if case.masks:
                labels = labels.repeat_interleave(4, 2).repeat_interleave(4, 3)
            noise = 0.15 * torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64)
            levels = labels if case.masks else labels[:, None, None, None]
            images = (0.2 + 0.3 * levels + noise).clamp(0, 1).to(case.dtype)
            parts.append((images, labels))
        images, labels = (torch.cat(of_ranks) for of_ranks in zip(*parts, strict=True))
        found.append((images, labels) if rank is None else parts[rank])
    return found


def build(
    case: Case, rank: int | None, epochs: int = EPOCHS, handlers: Sequence[Any] = (), device: Any = "cpu"
) -> GMCLTrainer:
    """Return the trainer of a rank, or of the joined batches. Ranks begin with weights of their own."""
    torch.manual_seed(rank or 0)
    norm = nn.BatchNorm2d(4) if case.normalized else nn.Identity()
    body = nn.Conv2d(1, 4, 3, padding=1 if case.masks else 0), norm, nn.SiLU()
    head = [nn.Conv2d(4, CLASSES, 3, padding=1)]
    if not case.masks:
        head = [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, CLASSES)]
    student: nn.Module = nn.Sequential(*body, *head).to(device, case.dtype)
    teacher = PolicyTeacher(spatial_dims=2, in_channels=1, num_classes=CLASSES).to(device, case.dtype)
    with torch.no_grad():
        teacher.log_share.add_(0.1 * (rank or 0) * torch.arange(len(teacher.log_share), device=device))
    options: dict[str, Any] = {"momentum": 0.9, "weight_decay": 1e-3} if case.optimizer == "SGD" else {"eps": 1e-3}
    optimizer = getattr(torch.optim, case.optimizer)(student.parameters(), lr=0.02, **options)
    if case.wrapped and rank is not None:
        student = nn.parallel.DistributedDataParallel(student)
    labeler = PseudoLabeler(pixel_threshold=0.4) if case.masks else PseudoLabeler(align=True)
    return GMCLTrainer(
        device,
        epochs,
        batches(rank, case),
        student,
        optimizer,
        DiceCELoss(to_onehot_y=True, softmax=True) if case.masks else nn.CrossEntropyLoss(),
        train_handlers=handlers,
        decollate=False,
        accumulation_steps=case.accumulation,
        teacher=teacher,
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.05),
        curriculum=Curriculum(hardness=case.hardness, class_sampler=ClassSampler("errors")),
        hypergradient=case.estimator(),
        weighting=None if case.weighed is None else LookAheadWeighting(case.weighed()),
        meta_data_loader=batches(rank, case, seed=1) if case.meta else None,
        unlabeled_data_loader=[i for i, _ in batches(rank, case, seed=2)] if case.unlabeled else None,
        label_proposal=labeler if case.unlabeled else None,
        seed=SEED,
    )


class JoinedSources:
    """What the ranks draw, each from its own images, in one process."""

    def __init__(self, trainer: GMCLTrainer) -> None:
        self.trainer = trainer
        self.buffer = self
        self.parts = [SourceBuffer() for _ in SIZES]
        self.generators: list[torch.Generator] = []

    @property
    def sizes(self) -> tuple[int, ...]:
        return LAST if self.trainer.state.iteration % BATCHES == 0 else SIZES

    @property
    def classes(self) -> list[int]:
        return self.parts[0].classes

    @contextmanager
    def keeping(self, real: RealBatch, for_later: bool) -> Iterator[None]:
        if for_later:
            yield
        classes = iter(real.classes)
        for part, *own in zip(self.parts, real.images.split(self.sizes), real.labels.split(self.sizes), strict=True):
            part.add(*own, list(islice(classes, len(own[0]))))
        if not for_later:
            yield

    def draw(self, n: int, sampler: ClassSampler, *_: Any) -> Sources:
        drawn, self.generators = [], []
        for rank, (part, size) in enumerate(zip(self.parts, self.sizes, strict=True)):
            seed = derive_seed(SEED, "rank", rank) if rank else SEED
            generator = torch.Generator().manual_seed(derive_seed(seed, "lesson", self.trainer.state.iteration))
            drawn.append(part.draw(sampler.draw(size, part.classes, generator), generator, self.trainer.device)[:2])
            self.generators.append(generator)
        images, labels = (torch.cat(of_ranks) for of_ranks in zip(*drawn, strict=True))
        assert len(images) == n
        return Sources(images, labels, None, None, (), {})

    def latents(self, teacher: Any, n: int, shape: Any, _: torch.Generator) -> Tensor:
        drawn = [draw_latents(teacher, s, shape, g) for s, g in zip(self.sizes, self.generators, strict=True)]
        return torch.cat(drawn)


def run(case: Case, rank: int | None, monkeypatch: Any = None) -> dict[str, Any]:
    """Train; return the weights and where the curriculum stands."""
    trainer = build(case, rank)
    if rank is None:
        sources = JoinedSources(trainer)
        trainer.sources = sources  # type: ignore[assignment]
        monkeypatch.setattr(trainer_module, "draw_latents", sources.latents)
    trainer.run()
    return end_of(trainer)


def resumed(case: Case, rank: int, folder: Path) -> dict[str, Any]:
    """Stop after two epochs and go on in a new trainer."""
    stopped = build(case, rank, 2, [CheckpointKeeper(folder)])
    stopped.run()
    dist.barrier()
    trainer = build(case, rank, EPOCHS, [CheckpointKeeper(folder, resume=True)])
    begun: list[dict[str, Any]] = []
    trainer.add_event_handler(Events.EPOCH_STARTED(once=3), lambda: begun.append(labeler_of(trainer)))
    trainer.run()
    return {**end_of(trainer), "labeler_before": labeler_of(stopped), "labeler_begun": begun[0]}


def labeler_of(trainer: GMCLTrainer) -> dict[str, Any]:
    """The average of the student and what proposals are aligned by, flat; empty without unlabeled images."""
    state = trainer.sources.state_dict()["unlabeled"] if isinstance(trainer.sources, LessonSources) else None
    return {**state["labeler"]["average"], **(state["labeler"]["alignment"] or {})} if state else {}


def end_of(trainer: GMCLTrainer) -> dict[str, Any]:
    return {
        "student": trainer.student.network.state_dict(),
        "teacher": trainer.teacher.state_dict(),
        "curriculum": trainer.curriculum.state_dict(),
        "labeler": labeler_of(trainer),
        "steps": trainer.student_step.taken,
        "gradient_norm": trainer.teacher_step.gradient_norm if trainer.teacher_step else None,
    }


if __name__ == "__main__":
    folder, index, ranks, meeting = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=index, world_size=ranks, timeout=timedelta(seconds=60)
    )
    ends: dict[str, Any] = {name: run(case, index) for name, case in CASES.items()}
    ends |= {"running statistics": run(RUNNING_STATISTICS, index), "unlabeled": run(UNLABELED, index)}
    ends |= {"unlabeled masks": run(UNLABELED_MASKS, index)}
    ends |= {"resumed": resumed(CASES["head"], index, folder / "checkpoints")}
    counted = traffic_of_steps(lambda: build(ALL_EXCHANGED, index, device=DEVICE))
    ends |= {"steps without waiting": counted.without_waiting}
    ends |= {"resumed, unlabeled": resumed(UNLABELED, index, folder / "checkpoints of unlabeled")}
    torch.save(ends, folder / f"{index}.pt")
    dist.destroy_process_group()
