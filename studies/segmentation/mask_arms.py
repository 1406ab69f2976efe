# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of the study of wrong masks: what can be done with doubtful masks and a few trusted images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.transforms.compose import Compose
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from monai_gmcl.curriculum import Curriculum
from monai_gmcl.engines import GMCLEvents, GMCLTrainer
from monai_gmcl.lesson import Lesson
from monai_gmcl.teachers import PolicyTeacher
from monai_gmcl.weighting import LessonWeighting, LookAheadWeighting, UniformWeighting
from studies.segmentation.arms import transforms_of
from studies.segmentation.mask_errors import MaskSet
from studies.segmentation.run import BATCH, random_patch
from studies.wrong_labels.weights_by_mark import WeightsByMark

__all__ = ["ARMS", "LESSON", "Arm", "SignWeighting", "build_ours", "builder", "patches_of"]

LESSON = BATCH // 2
"""Patches of a lesson of ours, of its real batch and of its batch of trusted images."""
CHANGES = Compose([random_patch("vessels"), transforms_of("flips")])


@dataclass(frozen=True)
class Arm:
    """A way to train with doubtful masks.

    Attributes:
        title: as the report calls it.
        doubtful: share of the doubtful images among the training patches; None: each image has the same.
        right: whether the doubtful images have their right masks.
        ours: arguments of :func:`build_ours`; None: equal weights.
    """

    title: str
    doubtful: float | None = None
    right: bool = False
    ours: Mapping[str, Any] | None = None

    @property
    def batch(self) -> int:
        """Real patches of a step."""
        return BATCH if self.ours is None else LESSON

    @property
    def passes(self) -> int:
        """Patches in a step that pass through the student: ours has real ones, the lesson twice, and trusted ones."""
        return BATCH if self.ours is None else 4 * LESSON


class SignWeighting(LookAheadWeighting):
    """The same weight for all images of a lesson that help by the look-ahead, and 0 for the others."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        helps = (super().__call__(lesson, look_ahead, update) > 0).float()
        return helps / helps.mean().clamp_min(1 / len(helps))


def patches_of(data: MaskSet, doubtful: float | None, count: int) -> tuple[Dataset, WeightedRandomSampler]:
    """Return random patches of the labeled images, and a sampler that draws ``count`` of them."""
    share = len(data.doubtful) / (len(data.doubtful) + len(data.trusted)) if doubtful is None else doubtful
    parts = ((share, data.doubtful), (1 - share, data.trusted))
    weights = [part / len(items) for part, items in parts for _ in items]
    return Dataset([*data.doubtful, *data.trusted], CHANGES), WeightedRandomSampler(weights, count)


def build_ours(
    data: MaskSet,
    watched: WeightsByMark,
    seed: int,
    learns: bool = True,
    weighting: Callable[[], LessonWeighting] = LookAheadWeighting,
    real_weight: float = 0.1,
    **arguments: Any,
) -> Trainer:
    """Return GMCL with trusted images as judges of lessons.

    Args:
        data: the images.
        watched: takes in the weights of the lessons' images.
        seed: of everything random.
        learns: whether the teacher does; otherwise it is frozen, with difficulty 1.
        weighting: of the images of a lesson.
        real_weight: of :class:`monai_gmcl.curriculum.Curriculum`.
        **arguments: of :class:`monai.engines.SupervisedTrainer`.
    """

    def prepare(batch: dict[str, Tensor], device: torch.device, *_: Any, **__: Any) -> tuple[Any, Any]:
        watched.know(batch["image"], batch["mark"])
        return batch["image"].to(device), batch["label"].to(device)

    teacher = PolicyTeacher(2, 1, 2, upright=False)
    trainer = GMCLTrainer(
        **arguments,
        prepare_batch=prepare,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer() if learns else None,
        weighting=weighting(),
        meta_data_loader=DataLoader(Dataset(data.trusted, CHANGES), batch_size=LESSON, shuffle=True, drop_last=True),
        curriculum=Curriculum(real_weight=real_weight, difficulty=None if learns else 1.0),
        seed=seed,
    )
    trainer.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda engine: watched.observe(engine.state.lesson))
    return trainer


def builder(arm: Arm, data: MaskSet, watched: WeightsByMark, seed: int) -> Callable[..., Trainer]:
    """Return what makes the trainer of an arm from the arguments of a ``SupervisedTrainer``."""
    return SupervisedTrainer if arm.ours is None else partial(build_ours, data, watched, seed, **arm.ours)


ARMS: dict[str, Arm] = {
    "right": Arm("right masks, equal weights (bound)", right=True),
    "equal": Arm("equal weights"),
    "trusted_alone": Arm("trusted images alone", doubtful=0.0),
    "trusted_added": Arm("trusted images in half of each batch", doubtful=0.5),
    "ours": Arm("ours", doubtful=1.0, ours={}),
    "ours_real_half": Arm("ours, real weight .5", doubtful=1.0, ours={"real_weight": 0.5}),
    "ours_no_memory": Arm("ours, memory 0", doubtful=1.0, ours={"weighting": partial(LookAheadWeighting, memory=0.0)}),
    "ours_sign": Arm("ours, weights by sign", doubtful=1.0, ours={"weighting": SignWeighting}),
    "ours_unweighted": Arm("ours, equal weights in lessons", doubtful=1.0, ours={"weighting": UniformWeighting}),
    "ours_unweighted_real_half": Arm(
        "ours, equal weights in lessons, real weight .5",
        doubtful=1.0,
        ours={"weighting": UniformWeighting, "real_weight": 0.5},
    ),
    "ours_frozen": Arm("ours, frozen teacher", doubtful=1.0, ours={"learns": False}),
    "ours_right": Arm("ours, right masks", doubtful=1.0, right=True, ours={}),
    "ours_teach": Arm("ours, trusted images judge and teach", doubtful=0.5, ours={}),
}
"""In the order of tables. The first two train on all images, trusted ones among them."""
