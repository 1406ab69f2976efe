# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of the study: what can be done with doubtful labels and a few trusted images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from monai.engines.trainer import SupervisedTrainer, Trainer
from torch import nn
from torch.utils.data import DataLoader, WeightedRandomSampler

from monai_gmcl.benchmark.arms import policy_teacher
from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.data_sets import AugmentedImages, Images
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import Setup
from monai_gmcl.curriculum import Curriculum
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.generalized_cross_entropy import GeneralizedCrossEntropy
from monai_gmcl.weighting import LookAheadWeighting
from studies.wrong_labels.noise import LabeledSet
from studies.wrong_labels.peers import co_teaching, learning_to_reweight

__all__ = ["ARMS", "OURS_PASSES", "Arm"]

Build = Callable[[Setup, LabeledSet, float], Trainer]
"""Setup of a run, its images, and the share of false labels, for peers that must be told."""
OURS_PASSES = 4
"""Of the student in a step of ours: real images, lesson, trusted images, and the lesson once more for its weights."""


@dataclass(frozen=True)
class Arm:
    """A way to train with doubtful labels.

    Attributes:
        title: as the report calls it.
        build: makes a run's trainer.
        passes: of a student over a batch in a step, with and without gradient; a run has as many in each arm.
    """

    title: str
    build: Build
    passes: int = 1


def _supervised(loss: Callable[[], nn.Module] = nn.CrossEntropyLoss, labels: str = "given") -> Build:
    """Equal weights: of all images, trusted ones among them, with the labels as given or as they are."""

    def build(setup: Setup, data: LabeledSet, share: float) -> Trainer:
        known = replace(data, doubtful=(data.doubtful[0], data.right)) if labels == "right" else data
        return SupervisedTrainer(**_arguments(setup, known.every, loss()))

    return build


def _trusted_alone(setup: Setup, data: LabeledSet, share: float) -> Trainer:
    return SupervisedTrainer(**_arguments(setup, data.trusted))


def _trusted_added(loss: Callable[[], nn.Module] = nn.CrossEntropyLoss) -> Build:
    def build(setup: Setup, data: LabeledSet, share: float) -> Trainer:
        return SupervisedTrainer(**_half_trusted(setup, data, loss()))

    return build


def _arguments(setup: Setup, images: Images, loss: nn.Module | None = None) -> dict[str, Any]:
    found = replace(setup, labeled=images).arguments(standard_augmentation(setup.options))
    return found if loss is None else {**found, "loss_function": loss}


def _half_trusted(setup: Setup, data: LabeledSet, loss: nn.Module | None = None) -> dict[str, Any]:
    """As many trusted as other images in a batch, on average."""
    found = _arguments(setup, data.every, loss)
    shares = [1 / len(part[0]) for part in (data.doubtful, data.trusted) for _ in part[0]]
    sampler = WeightedRandomSampler(shares, setup.steps * BATCH)
    loader = DataLoader(found["train_data_loader"].dataset, batch_size=BATCH, sampler=sampler)
    return {**found, "train_data_loader": loader}


def _co_teaching(setup: Setup, data: LabeledSet, share: float) -> Trainer:
    return co_teaching(setup, _arguments(setup, data.every), share * len(data.right) / len(data.every[0]))


def _learning_to_reweight(setup: Setup, data: LabeledSet, share: float) -> Trainer:
    return learning_to_reweight(_arguments(setup, data.doubtful), _trusted_loader(setup, data.trusted))


def _trusted_loader(setup: Setup, trusted: Images) -> DataLoader[Any]:
    images = AugmentedImages(trusted[0], standard_augmentation(setup.options), setup.seed + 1, trusted[1])
    return DataLoader(images, batch_size=min(BATCH, len(images)), shuffle=True, drop_last=True)


def _ours(
    teaches: bool = False,
    with_teacher: bool = True,
    loss: Callable[[], nn.Module] = nn.CrossEntropyLoss,
    memory: float = 0.9,
    weighted: bool = True,
    **curriculum: Any,
) -> Build:
    """Return the builder of GMCL with trusted images as judges of lessons.

    Args:
        teaches: whether half of each real batch is trusted, too.
        with_teacher: without one, lessons are the images of the latest batches as they are, weighed by the look-ahead.
        loss: of the student.
        memory: of :class:`monai_gmcl.weighting.LookAheadWeighting`.
        weighted: whether trusted images judge and weight lessons; otherwise the next real batch judges, and images of a
            lesson have equal weights.
        **curriculum: arguments of :class:`monai_gmcl.curriculum.Curriculum`.
    """

    def build(setup: Setup, data: LabeledSet, share: float) -> Trainer:
        teacher = policy_teacher(setup.options).to(setup.device)
        own = _half_trusted(setup, data, loss()) if teaches else _arguments(setup, data.doubtful, loss())
        difficulty = {} if with_teacher else {"difficulty": 0.0}
        if weighted:
            own["weighting"] = LookAheadWeighting(memory=memory)
            own["meta_data_loader"] = _trusted_loader(setup, data.trusted)
        return GMCLTrainer(
            **own,
            teacher=teacher,
            teacher_optimizer=teacher.optimizer() if with_teacher else None,
            curriculum=Curriculum(**{"real_weight": 0.1, **difficulty, **curriculum}),
            seed=setup.seed,
        )

    return build


ARMS: dict[str, Arm] = {
    "right": Arm("right labels (bound)", _supervised(labels="right")),
    "equal": Arm("equal weights", _supervised()),
    "label_smoothing": Arm("label smoothing", _supervised(lambda: nn.CrossEntropyLoss(label_smoothing=0.1))),
    "gce": Arm("generalized cross-entropy", _supervised(GeneralizedCrossEntropy)),
    "co_teaching": Arm("co-teaching", _co_teaching, 2),
    "trusted_alone": Arm("trusted images alone", _trusted_alone),
    "trusted_added": Arm("trusted images in half of each batch", _trusted_added()),
    "trusted_added_gce": Arm(
        "trusted images in half of each batch, generalized cross-entropy", _trusted_added(GeneralizedCrossEntropy)
    ),
    "reweight": Arm("learning to reweight", _learning_to_reweight, 3),
    "ours": Arm("ours", _ours(), OURS_PASSES),
    "ours_no_teacher": Arm("ours without a teacher", _ours(with_teacher=False), OURS_PASSES),
    "ours_teach": Arm("ours, trusted images judge and teach", _ours(teaches=True), OURS_PASSES),
    "ours_gce": Arm("ours, generalized cross-entropy", _ours(loss=GeneralizedCrossEntropy), OURS_PASSES),
    "ours_teach_gce": Arm(
        "ours, judge and teach, generalized cross-entropy",
        _ours(teaches=True, loss=GeneralizedCrossEntropy),
        OURS_PASSES,
    ),
    "ours_real_half": Arm("ours, real weight .5 (bundle)", _ours(real_weight=0.5), OURS_PASSES),
    "augmented_added_gce": Arm(
        "GMCL with equal weights, trusted images in half of each batch, generalized cross-entropy",
        _ours(teaches=True, loss=GeneralizedCrossEntropy, weighted=False, real_weight=1.0),
        2,
    ),
}
"""In the order of tables."""
