# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import policy_teacher
from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.data_sets import AugmentedImages
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import EMA_MOMENTUM, Setup, StudentRun
from monai_gmcl.curriculum import Curriculum
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.hypergradients import HeadHypergradient
from monai_gmcl.teachers.base import draw_latents
from monai_gmcl.weighting import (
    ConfidenceWeighting,
    LessonWeighting,
    LookAheadWeighting,
    PseudoLabeler,
    UniformWeighting,
)
from monai_gmcl.weighting.distribution_alignment import average_momentum
from monai_gmcl.weighting.pseudo_labels import LabelProposal

__all__ = ["UNLABELED_ARMS", "gmcl_on_unlabeled", "unlabeled_loader"]

THRESHOLD = 0.95
"""FixMatch's least confidence."""
CONSISTENCY = 10.0
"""Mean Teacher's weight of the consistency loss, when it has risen."""
RAMP = 0.4
"""Share of the run over which it rises."""


FIRST_STAGE = 4 / 3
"""Steps of a first student in units of GMCL's own. With 3/4 of the steps of GMCL in one stage, both stages together
have as many student passes."""
SECOND_STAGE: dict[str, Any] = {"real_weight": 0.1, "unlabeled_weight": 3.0, "unlabeled_difficulty": 0.3}
"""The curriculum that such a student's labels are for: most of a step is of unlabeled images, little changed."""


def gmcl_on_unlabeled(
    weighting: Callable[[], LessonWeighting] | None = None,
    true_labels: bool = False,
    first_student: bool = False,
    **curriculum: Any,
) -> Callable[[Setup], Trainer]:
    """Return the builder of GMCL with lessons from unlabeled images, too.

    Args:
        weighting: of lessons; the trainer's own choice by default.
        true_labels: whether the labels of unlabeled images are known after all, which is the bound.
        first_student: whether a student that was trained before proposes the labels, as in self-training.
        **curriculum: arguments of :class:`monai_gmcl.curriculum.Curriculum`.
    """

    def build(setup: Setup) -> Trainer:
        teacher = policy_teacher(setup.options).to(setup.device)
        known: list[Tensor] = []

        def prepare(batch: Any, device: torch.device, *_: Any, **__: Any) -> tuple[Tensor, Tensor | None]:
            images, labels, *unlabeled = (part.to(device) for part in batch)
            if not unlabeled:
                return images, labels
            known[:] = [labels]
            return images, None

        proposal: LabelProposal | None = None
        if true_labels:
            proposal = lambda images: (known[0], images.new_ones(len(images)))  # noqa: E731
        elif first_student:
            proposal = PseudoLabeler(
                network=_first_student(setup, round(FIRST_STAGE * setup.steps)).with_weights("chosen")
            )
        return GMCLTrainer(
            **setup.arguments(standard_augmentation(setup.options)),
            label_proposal=proposal,
            curriculum=Curriculum(**curriculum),
            teacher=teacher,
            teacher_optimizer=teacher.optimizer(),
            unlabeled_data_loader=unlabeled_loader(setup),
            weighting=None if weighting is None else weighting(),
            prepare_batch=prepare,
            seed=setup.seed,
        )

    return build


def fixmatch(setup: Setup) -> Trainer:
    """FixMatch (Sohn et al. 2020, arXiv 2001.07685), its strong view the default teacher's operations, not learned."""

    def loss(weak: Tensor, outputs: Tensor, _: float) -> Tensor:
        with torch.no_grad():
            confidence, labels = setup.network(weak).softmax(1).max(1)
        sure = (confidence >= THRESHOLD).float()
        return torch.mean(sure * functional.cross_entropy(outputs, labels, reduction="none"))

    return _on_two_views(setup, loss)


def mean_teacher(setup: Setup) -> Trainer:
    """Mean Teacher (Tarvainen and Valpola 2017, arXiv 1703.01780); the student sees the view that FixMatch's sees."""
    averaged, steps = deepcopy(setup.network), 0

    def loss(weak: Tensor, outputs: Tensor, progress: float) -> Tensor:
        nonlocal steps
        steps += 1
        _average(averaged, setup.network, average_momentum(EMA_MOMENTUM, steps))
        with torch.no_grad():
            wanted = averaged.eval()(weak).softmax(1)
        rise = math.exp(-5 * (1 - min(1.0, progress / RAMP)) ** 2)
        loss: Tensor = CONSISTENCY * rise * functional.mse_loss(outputs.softmax(1), wanted)
        return loss

    return _on_two_views(setup, loss)


def self_training(setup: Setup) -> Trainer:
    """A first student labels the unlabeled images, a second one learns from all; both as arm ``standard`` does."""
    assert setup.unlabeled is not None
    labels = _first_student(setup, setup.steps).probabilities("chosen", setup.unlabeled[0]).argmax(1)
    joined = torch.cat([setup.labeled[0], setup.unlabeled[0]]), torch.cat([setup.labeled[1], labels])
    return _supervised(replace(setup, labeled=joined))


def _supervised(setup: Setup) -> Trainer:
    return SupervisedTrainer(**setup.arguments(standard_augmentation(setup.options)))


def _first_student(setup: Setup, steps: int) -> StudentRun:
    """A student that arm ``standard`` has trained, and paid for."""
    assert setup.choosing is not None
    own = setup.options, setup.labeled, setup.choosing, setup.seed, steps
    first = StudentRun(_supervised, *own, unlabeled=setup.unlabeled, device=setup.device)
    first.run()
    for name in setup.spent:
        setup.spent[name] += first.cost[name]
    torch.manual_seed(setup.seed)
    return first


def _on_two_views(setup: Setup, unlabeled_loss: Callable[[Tensor, Tensor, float], Tensor]) -> Trainer:
    """Supervised steps that add a loss of (weak view, outputs of the strong view, progress) of unlabeled images."""
    teacher = policy_teacher(setup.options).to(setup.device)
    generator = torch.Generator().manual_seed(setup.seed)
    batches = iter(unlabeled_loader(setup))
    network, optimizer = setup.network, setup.optimizer

    def step(engine: Engine, batch: Any) -> dict[str, Tensor]:
        images, labels = (part.to(setup.device) for part in batch)
        weak = next(batches)[0].to(setup.device)
        with torch.no_grad():
            latents = draw_latents(teacher, len(weak), weak.shape[1:], generator)
            strong = teacher(weak, torch.zeros_like(labels), latents.to(setup.device), 1.0)
        network.train()
        outputs, of_strong = network(torch.cat([images, strong])).split([len(images), len(weak)])
        loss = functional.cross_entropy(outputs, labels)
        loss = loss + unlabeled_loss(weak, of_strong, engine.state.iteration / setup.steps)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return {Keys.IMAGE: images, Keys.LABEL: labels, Keys.PRED: outputs, Keys.LOSS: loss.detach()}

    return SupervisedTrainer(**setup.arguments(standard_augmentation(setup.options)), iteration_update=step)


def unlabeled_loader(setup: Setup) -> DataLoader[Any]:
    """Batches of weakly changed images, their true labels and a mark."""
    assert setup.unlabeled is not None
    images, labels = setup.unlabeled
    marks = torch.ones_like(labels)
    data = AugmentedImages(images, standard_augmentation(setup.options), setup.seed + 1, labels, marks)
    return DataLoader(data, batch_size=BATCH, sampler=RandomSampler(data, num_samples=setup.steps * BATCH))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, momentum: float) -> None:
    for kept, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if value.is_floating_point():
            kept.lerp_(value, momentum)
        else:
            kept.copy_(value)


def _by_the_head() -> LookAheadWeighting:
    return LookAheadWeighting(HeadHypergradient())


_OnUnlabeled = partial(Arm, equal_compute=False, unlabeled=True)

UNLABELED_ARMS: dict[str, Arm] = {
    # In units of B images a step: 4 in GMCL (real, lesson of 2 B, proposal), 2 more where the look-ahead of the whole
    # student weighs the lesson, 3 in those of two views, 1 in a stage of supervised steps.
    "self_training": _OnUnlabeled("self-training, two stages", self_training, share=2.0),
    "mean_teacher": _OnUnlabeled("Mean Teacher", mean_teacher, share=4 / 3),
    "fixmatch": _OnUnlabeled("FixMatch", fixmatch, share=4 / 3),
    "mean_teacher_longer": _OnUnlabeled("Mean Teacher, 1.5 times as long", mean_teacher, share=2.0),
    "fixmatch_longer": _OnUnlabeled("FixMatch, 1.5 times as long", fixmatch, share=2.0),
    "gmcl_unlabeled": _OnUnlabeled("GMCL, unlabeled, weighted by the look-ahead", gmcl_on_unlabeled()),
    "gmcl_unlabeled_head": _OnUnlabeled(
        "GMCL, unlabeled, weighted by the look-ahead of the head", gmcl_on_unlabeled(_by_the_head)
    ),
    "gmcl_unlabeled_uniform": _OnUnlabeled("GMCL, unlabeled, equal weights", gmcl_on_unlabeled(UniformWeighting)),
    "gmcl_unlabeled_confidence": _OnUnlabeled("GMCL, unlabeled, by confidence", gmcl_on_unlabeled(ConfidenceWeighting)),
    "gmcl_first_student_head": _OnUnlabeled(
        "GMCL after a first student, weighted by the look-ahead of the head",
        gmcl_on_unlabeled(_by_the_head, first_student=True, **SECOND_STAGE),
        share=0.75,
    ),
    "gmcl_first_student_uniform": _OnUnlabeled(
        "GMCL after a first student, equal weights",
        gmcl_on_unlabeled(UniformWeighting, first_student=True, **SECOND_STAGE),
        share=0.75,
    ),
    "gmcl_unlabeled_true": _OnUnlabeled(
        "GMCL, unlabeled, true labels", gmcl_on_unlabeled(UniformWeighting, true_labels=True)
    ),
}
