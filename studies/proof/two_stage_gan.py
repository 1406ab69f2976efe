# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What GMCL replaces: train a GAN, select from its images, then train the classifier on real and selected ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.engines.trainer import SupervisedTrainer
from torch import Tensor

from monai_gmcl.benchmark.augmentations import standard_augmentation
from monai_gmcl.benchmark.data_sets import Images
from monai_gmcl.benchmark.flops import FlopCounter
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.benchmark.synthetic_images import diversity_of_some, write_picture
from monai_gmcl.metrics import memorization, small_pixels
from studies.proof.gan_distance import kernel_distance
from studies.proof.gan_selection import probabilities_and_features, select
from studies.proof.gan_training import GanOptions, draw, train_gan

__all__ = ["GanStage", "TwoStageTrainer", "gan_measures", "two_stage_gan"]

LENGTH = 2.0
"""Steps of the GAN at strength 1, in steps of the student."""
CLASSIFIER_LENGTH = 0.5
"""Steps of the classifier that selects, in steps of the student."""
KEEP = 0.25
"""Share of the drawn images that is selected."""
ADDED = 1.0
"""Selected images for each real one."""
SHOWN = 32


@dataclass(frozen=True)
class GanStage:
    """What came out of the first stage.

    Attributes:
        steps: of the GAN.
        real: the labeled images.
        drawn: the generator's images, and the labels that they were drawn for.
        selected: positions of those that are selected.
        classifier: of the real images, which selected.
    """

    steps: int
    real: Images
    drawn: Images
    selected: Tensor
    classifier: StudentRun

    @property
    def added(self) -> Images:
        """The selected images with their labels."""
        return self.drawn[0][self.selected], self.drawn[1][self.selected]

    def measures(self, held_out: Images) -> dict[str, Any]:
        """Return what a row says of synthetic images.

        ``diversity`` and ``memorization`` (share of images nearer to a real one than 5 % of the real ones are to
        another) are of the selected images, as is ``gan.kid``: the kernel distance to held-out images, by features
        of the classifier that selected. Beside it stand ``kid_drawn``, before selection, and ``kid_real``, of the
        labeled images, which the classifier was trained on.

        Args:
            held_out: images that nothing was trained on; the distances are None with fewer than two.
        """
        added = self.added[0]
        kids: dict[str, float | None] = dict.fromkeys(("kid", "kid_drawn", "kid_real"))
        if len(held_out[0]) > 1:
            network = self.classifier.with_weights("chosen")
            features = [
                probabilities_and_features(network, images)[1]
                for images in (held_out[0], added, self.drawn[0], self.real[0])
            ]
            kids = {name: kernel_distance(part, features[0]) for name, part in zip(kids, features[1:], strict=True)}
        return {
            "diversity": diversity_of_some(added),
            "memorization": memorization(added, self.real[0], small_pixels).share,
            "gan": {
                **kids,
                "diversity": diversity_of_some(self.drawn[0]),
                "diversity_real": diversity_of_some(self.real[0]),
                "selected_share": len(added) / len(self.drawn[0]),
                "length": self.steps,
            },
        }

    def samples(self) -> list[Tensor]:
        """Return blocks of images to look at: of each class selected ones, then of each class real ones."""
        sets = self.added, self.real
        return [images[labels == k][:SHOWN] for images, labels in sets for k in torch.unique(labels)]


class TwoStageTrainer(SupervisedTrainer):
    """The second stage's trainer, with what came out of the first.

    Attributes:
        stage: the first stage.
    """

    stage: GanStage


def two_stage_gan(setup: Setup) -> TwoStageTrainer:
    """Build the arm: its first stage is run here, and its cost goes to ``setup.spent``.

    A class-conditional GAN learns from the labeled images; a first classifier learns from them, too, as in arm
    ``standard``, and selects from the GAN's images by confidence and by distance to the class's mean features, as in
    selective synthetic augmentation (HistoGAN: Xue et al. 2021, Medical Image Analysis 67,
    10.1016/j.media.2020.101816). The student then learns from real and selected images with standard transforms. Ours
    are the networks and losses of the GAN, which have to suit a few hundred small images on a CPU, and the way in which
    the two criteria share (:func:`studies.proof.gan_selection.select`).

    Args:
        setup: with ``choosing``; ``strength`` is the length of the GAN's training in units of the usual one.
    """
    assert setup.choosing is not None
    steps = max(1, round(LENGTH * setup.strength * setup.steps))
    images, labels = setup.labeled
    gan_options = GanOptions(orientations=not setup.options.upright)
    gan = train_gan(images, labels, setup.options.classes, steps, setup.seed, gan_options, setup.device)
    first_steps = max(1, round(CLASSIFIER_LENGTH * setup.steps))
    own = setup.options, setup.labeled, setup.choosing, setup.seed, first_steps
    classifier = StudentRun(_standard, *own, device=setup.device)
    classifier.run()
    with FlopCounter() as counter:
        wanted = labels.repeat_interleave(max(1, round(ADDED / KEEP)))
        drawn = draw(gan.network, wanted, setup.seed), wanted
        selected = select(drawn, setup.labeled, classifier.with_weights("chosen"), KEEP)
    setup.spent["flops"] += gan.flops + classifier.cost["flops"] + counter.total
    setup.spent["student_passes"] += classifier.cost["student_passes"]
    stage = GanStage(steps, setup.labeled, drawn, selected, classifier)
    joined = tuple(torch.cat(pair) for pair in zip(setup.labeled, stage.added, strict=True))
    # So that the student sees the same order whatever the first stage drew.
    torch.manual_seed(setup.seed)
    arguments = replace(setup, labeled=(joined[0], joined[1])).arguments(standard_augmentation(setup.options))
    trainer = TwoStageTrainer(**arguments)
    trainer.stage = stage
    return trainer


def _standard(setup: Setup) -> SupervisedTrainer:
    return SupervisedTrainer(**setup.arguments(standard_augmentation(setup.options)))


def gan_measures(run: StudentRun, held_out: Images, picture: Path) -> dict[str, Any]:
    """Return what a row says of the GAN's images, and draw a sample of them."""
    assert isinstance(run.trainer, TwoStageTrainer)
    write_picture(picture, run.trainer.stage.samples())
    return run.trainer.stage.measures(held_out)
