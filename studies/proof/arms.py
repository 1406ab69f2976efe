# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of the proof: those of the package, and others that GMCL is compared with or taken apart by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.inferers.inferer import SimpleInferer
from monai.transforms.regularization.array import CutMix, Mixer, MixUp
from torch import Tensor, nn

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import ARMS as USUAL
from monai_gmcl.benchmark.arms import WITHIN_BUDGET, gmcl_arm, policy_teacher
from monai_gmcl.benchmark.augmentations import no_augmentation, standard_augmentation
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.report.figures import COLORS as USUAL_COLORS
from monai_gmcl.benchmark.report.rows import titles_of
from monai_gmcl.benchmark.student_run import Setup
from monai_gmcl.curriculum import Competence
from monai_gmcl.hypergradients import Hypergradient
from monai_gmcl.lesson import Lesson
from monai_gmcl.teachers import LatentTeacher
from monai_gmcl.teachers.base import draw_latents
from studies.proof.reused_teacher import reused_teacher
from studies.proof.two_stage_gan import gan_measures, two_stage_gan
from studies.proof.unlabeled_arms import UNLABELED_ARMS

__all__ = ["ARMS", "COLORS", "TITLES"]


def _none(setup: Setup) -> Trainer:
    return SupervisedTrainer(**setup.arguments(no_augmentation()))


def _mixed(mixer: Callable[..., Mixer]) -> Callable[[Setup], Trainer]:
    def build(setup: Setup) -> Trainer:
        mix = mixer(batch_size=BATCH)
        mix.set_random_state(setup.seed)

        def prepare(batch: Any, device: torch.device, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            # Plain: a MetaTensor of a batch takes no array for an index.
            images, labels = (part.as_subclass(Tensor) for part in batch)
            targets = nn.functional.one_hot(labels, setup.options.classes).float()
            mix.randomize(images)
            # Not mix(images, targets): MONAI 1.6.1 cuts labels by pixels there, which leaves CutMix's unmixed.
            if isinstance(mix, CutMix):
                mixed = mix.apply(images), mix.apply_on_labels(targets)
            else:
                mixed = mix.apply(images), mix.apply(targets[..., None, None])[..., 0, 0]
            return mixed[0].to(device), mixed[1].to(device)

        return SupervisedTrainer(**setup.arguments(standard_augmentation(setup.options)), prepare_batch=prepare)

    return build


class _Halves(SimpleInferer):
    """Each half of a batch passes alone, so that each has its own batch statistics."""

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        return torch.cat([network(half) for half in inputs.chunk(2)])


def _doubled_batch(inferer: SimpleInferer | None) -> Callable[[Setup], Trainer]:
    def build(setup: Setup) -> Trainer:
        teacher = policy_teacher(setup.options).to(setup.device)
        generator = torch.Generator().manual_seed(setup.seed)

        def prepare(batch: Any, device: torch.device, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            images, labels = (part.to(device) for part in batch)
            with torch.no_grad():
                latents = draw_latents(teacher, len(images), images.shape[1:], generator)
                changed = teacher(images, labels, latents.to(device), 1.0)
            return torch.cat([images, changed]), torch.cat([labels, labels])

        arguments = setup.arguments(standard_augmentation(setup.options))
        return SupervisedTrainer(**arguments, prepare_batch=prepare, inferer=inferer)

    return build


class ZeroHypergradient(Hypergradient):
    """Says that no lesson was worth anything: what is left is hardness."""

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        images = torch.cat([lesson.images for lesson in lessons])
        return torch.zeros_like(images), images.new_zeros(len(images))


class _OfSeenImages(Competence):
    """Does not pass the student's accuracy on the images that choose weights to the curriculum."""

    def observe_unseen(self, accuracy: float) -> None:
        pass


def _latent_teacher(options: DataOptions) -> LatentTeacher:
    return LatentTeacher(options.spatial_dims, options.channels, options.classes, options.image_size)


def _frozen(**curriculum: Any) -> Callable[[Setup], Trainer]:
    return gmcl_arm(learned=False, **curriculum)


ARMS: dict[str, Arm] = {
    "none": Arm("no augmentation", _none),
    **{name: USUAL[name] for name in ("standard", "strong", "trivial_augment")},
    "mixup": Arm("MixUp", _mixed(MixUp)),
    "cutmix": Arm("CutMix", _mixed(CutMix)),
    # The shortest GAN that is about as good as the best: its time counts.
    "two_stage_gan": Arm("two-stage GAN", two_stage_gan, tuned=True, tolerance=0.005, synthetic=gan_measures),
    "doubled_batch": Arm("frozen teacher, doubled batch", _doubled_batch(None), equal_compute=False),
    "doubled_batch_split_statistics": Arm(
        "frozen teacher, doubled batch, statistics of each half", _doubled_batch(_Halves()), equal_compute=False
    ),
    "frozen": USUAL["frozen"],
    "competence": Arm("GMCL with a frozen random teacher led by competence", _frozen(), equal_compute=False),
    "hardness_only": Arm(
        "GMCL, hardness only",
        gmcl_arm(hypergradient=ZeroHypergradient, hardness=1.0, difficulty=1.0),
        equal_compute=False,
    ),
    "hypergradient_only": Arm("GMCL, hypergradient only", gmcl_arm(difficulty=1.0), equal_compute=False),
    "frozen_weak_start": Arm("frozen random teacher, a third of the strength", _frozen(difficulty=1 / 3), False),
    "gmcl_weak_start": Arm(
        "GMCL from a third of the strength", gmcl_arm(competence=partial(Competence, start=1 / 3)), False
    ),
    "frozen_strong_start": Arm("frozen random teacher, three times the strength", _frozen(difficulty=3.0), False),
    "gmcl_strong_start": Arm(
        "GMCL from three times the strength", gmcl_arm(competence=partial(Competence, start=3.0)), False
    ),
    "gmcl": USUAL["gmcl"],
    "gmcl_without_validation": Arm(
        "GMCL, difficulty by training images alone", gmcl_arm(competence=_OfSeenImages), equal_compute=False
    ),
    "latent": Arm(
        "GMCL with LatentTeacher",
        gmcl_arm(_latent_teacher),
        equal_compute=False,
    ),
    "reused_teacher_alone": Arm(
        "trained teacher as a transform, nothing else", reused_teacher(gmcl_arm(), lambda _: no_augmentation())
    ),
    "reused_teacher": Arm(
        "trained teacher as a transform after standard MONAI transforms",
        reused_teacher(gmcl_arm(), standard_augmentation),
    ),
    "gmcl_twice_the_steps": Arm("GMCL, twice the steps", gmcl_arm(), False, share=2.0),
    **UNLABELED_ARMS,
}

ORDER = (
    *("none", "standard", "standard" + WITHIN_BUDGET, "strong", "strong" + WITHIN_BUDGET, "trivial_augment"),
    *("mixup", "cutmix", "two_stage_gan", "doubled_batch", "doubled_batch_split_statistics", "latent", "frozen"),
    *("frozen_weak_start", "frozen_strong_start", "competence", "hardness_only", "hypergradient_only"),
    *("gmcl_weak_start", "gmcl_strong_start", "gmcl_without_validation", "gmcl", "gmcl_twice_the_steps"),
    *("reused_teacher_alone", "reused_teacher"),
    *("self_training", "mean_teacher", "mean_teacher_longer", "fixmatch", "fixmatch_longer"),
    *("gmcl_unlabeled_uniform", "gmcl_unlabeled_confidence", "gmcl_unlabeled_head", "gmcl_unlabeled"),
    *("gmcl_first_student_uniform", "gmcl_first_student_head", "gmcl_unlabeled_true"),
)
TITLES = {name: titles_of(ARMS)[name] for name in ORDER}
"""What the report calls arms, as tables list them."""
COLORS = {**USUAL_COLORS, "two_stage_gan": "#a0399b", "doubled_batch": "#b88a00"}
"""Of the arms that stand out in figures."""
