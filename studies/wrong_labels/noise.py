# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labeled images some of whose labels are made false, and trusted ones, drawn by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.engines.trainer import SupervisedTrainer
from torch import Tensor

from monai_gmcl.benchmark.augmentations import no_augmentation
from monai_gmcl.benchmark.data_sets import Images
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from studies.policies.tasks import TaskData

__all__ = ["MOST_TRUSTED", "NOISES", "WEAK", "LabeledSet", "draw"]

NOISES = ("uniform", "by_class", "by_difficulty")
MOST_TRUSTED = 100
"""Always drawn, so that the other images of a seed are the same whatever number is trusted."""
WEAK, WEAK_STEPS = 60, 100
"""Images and steps of the student whose errors are the false labels by difficulty."""


@dataclass(frozen=True)
class LabeledSet:
    """What an arm may train on.

    Attributes:
        doubtful: images and their given labels, some of them false.
        right: the true labels of the same images, for the bound and for measuring.
        trusted: other images, with true labels.
    """

    doubtful: Images
    right: Tensor
    trusted: Images

    @property
    def every(self) -> Images:
        """All images with their given labels, the trusted ones last."""
        pairs = zip(self.doubtful, self.trusted, strict=True)
        images, labels = (torch.cat(pair) for pair in pairs)
        return images, labels


def draw(data: TaskData, n: int, trusted: int, noise: str, share: float, seed: int) -> tuple[LabeledSet, Images]:
    """Return the labeled images of a seed, and images of ``train`` that it did not draw.

    Args:
        data: of two classes.
        n: images with doubtful labels, of each class as many.
        trusted: others with true labels, of each class as many; at most :data:`MOST_TRUSTED`.
        noise: ``uniform``: false labels on any images; ``by_class``: on images of class 1 alone, so that the share is
            of them; ``by_difficulty``: on the images for whose true label a weak student has the least probability.
        share: of false labels, 0 to 1.
        seed: draws images and false labels; the weak student learns from 60 images that are used for nothing else.

    Raises:
        ConfigurationError: more images than there are.
    """
    (images, labels), held_out = data.draw(n + MOST_TRUSTED + WEAK, seed)
    ends = [n // 2, n // 2 + MOST_TRUSTED // 2]
    parts = [(labels == c).nonzero()[:, 0].tensor_split(ends) for c in (0, 1)]
    # An odd number has one more of class 0.
    few = torch.cat([part[1][: (trusted + 1 - c) // 2] for c, part in enumerate(parts)])
    many, weak = (torch.cat([part[k] for part in parts]) for k in (0, 2))
    right = labels[many]
    if noise == "by_difficulty":
        order = _weak_probabilities(data, (images[weak], labels[weak]), images[many], seed)
        suspects = order.gather(1, right[:, None])[:, 0].argsort(stable=True)
    else:
        suspects = torch.randperm(len(many), generator=torch.Generator().manual_seed(seed))
        suspects = suspects[right[suspects] == 1] if noise == "by_class" else suspects
    given = right.clone()
    false = suspects[: round(share * len(suspects))]
    given[false] = 1 - right[false]
    return LabeledSet((images[many], given), right, (images[few], labels[few])), held_out


def _weak_probabilities(data: TaskData, labeled: Images, images: Tensor, seed: int) -> Tensor:
    def build(setup: Setup) -> SupervisedTrainer:
        return SupervisedTrainer(**setup.arguments(no_augmentation()))

    rate = data.task.learning_rate
    run = StudentRun(build, data.options, labeled, labeled, seed, WEAK_STEPS, learning_rate=rate)
    run.run()
    return run.probabilities("final", images)
