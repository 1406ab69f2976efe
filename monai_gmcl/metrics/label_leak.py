# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a teacher writes the label into the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics.rocauc import compute_roc_auc
from monai.networks.blocks.convolutions import Convolution
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.labels import label_vectors
from monai_gmcl.teachers import Teacher, draw_latents

LARGEST_SIDE = 32
WIDTH = 16
STEPS = 120
LEAST_PER_FOLD = 2


@dataclass(frozen=True)
class LabelLeak:
    """What a teacher's changes tell about the labels: areas under the ROC curve, .5 for nothing and 1 for all.

    Attributes:
        auc: of a teacher that is given each source's own label.
        unconditioned_auc: of the same teacher given labels that have nothing to do with the sources. What is left
            above .5 comes from the sources (a change of contrast shows what it changes), not from the label.
    """

    auc: float
    unconditioned_auc: float


def label_leak(teacher: Teacher, images: Tensor, labels: Tensor, difficulty: float = 1.0, seed: int = 0) -> LabelLeak:
    """Whether a teacher writes the label into the image, where the student would learn it instead of the tissue.

    A small convolutional classifier is trained to tell the label y of each source x from what the teacher added alone,
    the difference ``T(x, y', z) - x``, and scored on sources that it has not seen: two folds, stratified by class, each
    held out once; the two areas under the curve are averaged. That is done twice, with the same latents and folds:

    - ``auc``: the teacher is given the source's own label, y' = y, as in a lesson;
    - ``unconditioned_auc``: the teacher is given the labels of a random permutation of the sources. The classifier
      still has to tell y. The label that the teacher saw now says nothing about y, so this is what any teacher's
      changes tell because they depend on x.

    A teacher leaks by as much as ``auc`` is above ``unconditioned_auc``. For one that does not look at labels the two
    are equal. Both vary by about ``.6 / sqrt(B)`` by chance: some hundreds of sources make .05 visible. More than two
    classes and multi-label tasks: the mean over classes of one class against the rest.

    Args:
        teacher: one that changes source images.
        images: sources ``(B, C, H, W)`` or ``(B, C, D, H, W)``, on the teacher's device.
        labels: ``(B,)`` int64 or ``(B, K)`` float.
        difficulty: at which the teacher draws.
        seed: of latents, permutation, folds and classifier: the same seed gives the same numbers.

    Raises:
        ConfigurationError: a teacher that makes images from labels alone: its images are meant to show the label.
        LabelError: a class (or, in multi-label tasks, the presence or the absence of a label) with fewer than four
            sources.
    """
    if not teacher.needs_images:
        raise ConfigurationError(
            f"{type(teacher).__name__} makes images from labels alone and has no sources to subtract. Label leak can "
            "be measured only for teachers that change source images."
        )
    generator = torch.Generator().manual_seed(seed)
    targets = label_vectors(labels, teacher.num_classes).round()
    folds = _folds(targets.cpu(), generator)
    latents = draw_latents(teacher, len(images), images.shape[1:], generator).to(images.device)
    shuffled = labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
    aucs = []
    for given in (labels, shuffled):
        with torch.no_grad():
            added = teacher(images, given, latents, difficulty) - images
        aucs.append(_held_out_auc(_standardize(added), targets, folds.to(images.device), seed))
    return LabelLeak(*aucs)


def _folds(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Fold 0 or 1 of each source ``(B,)``, by turns within each combination of labels."""
    order = torch.randperm(len(targets), generator=generator)
    combination = torch.unique(targets, dim=0, return_inverse=True)[1]
    folds = torch.empty(len(targets), dtype=torch.long)
    for value in range(int(combination.max()) + 1):
        members = order[combination[order] == value]
        folds[members] = (torch.arange(len(members)) + value) % 2
    for fold in (0, 1):
        present = targets[folds == fold].sum(0)
        absent = (1 - targets[folds == fold]).sum(0)
        for name, count in (("with", present), ("without", absent)):
            if int(count.min()) < LEAST_PER_FOLD:
                raise LabelError(
                    f"Label leak needs at least {2 * LEAST_PER_FOLD} sources with and without each label; one half "
                    f"of them has {int(count.min())} {name} label {int(count.argmin())}."
                )
    return folds


def _standardize(added: Tensor) -> Tensor:
    """The classifier's input: small, and of about unit size whatever the strength of the change."""
    size = [min(side, LARGEST_SIDE) for side in added.shape[2:]]
    added = functional.interpolate(added.float(), size, mode="area")
    return added / added.square().mean().sqrt().clamp(min=1e-8)


def _held_out_auc(added: Tensor, targets: Tensor, folds: Tensor, seed: int) -> float:
    values = []
    for held_out in (0, 1):
        train, test = folds != held_out, folds == held_out
        classifier = _train_classifier(added[train], targets[train], seed)
        with torch.no_grad():
            scores = classifier(added[test])
        auc = compute_roc_auc(scores.cpu(), targets[test].cpu(), average="macro")
        values.append(float(np.asarray(auc)))
    return sum(values) / len(values)


def _train_classifier(added: Tensor, targets: Tensor, seed: int) -> nn.Module:
    spatial_dims = added.ndim - 2
    # forked, so that measuring a leak in mid-training leaves the run's own random numbers alone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths = (added.shape[1], WIDTH, 2 * WIDTH, 2 * WIDTH)
        classifier = nn.Sequential(
            *(
                Convolution(spatial_dims, before, after, strides=2, adn_ordering="A", act="RELU")
                for before, after in zip(widths[:-1], widths[1:], strict=True)
            ),
            _Mean(),
            nn.Linear(widths[-1], targets.shape[1]),
        ).to(added)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=5e-3, weight_decay=0.05)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(classifier(added), targets)
            torch.autograd.backward(loss)
            optimizer.step()
    return classifier


class _Mean(nn.Module):
    """Mean of each channel over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(2).mean(2)
