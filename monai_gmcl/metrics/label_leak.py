# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label leak: whether a teacher's changes reveal the label."""

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

__all__ = ["LabelLeak", "label_leak"]

LARGEST_SIDE = 32
WIDTH = 16
STEPS = 120
LEAST_PER_FOLD = 2


@dataclass(frozen=True)
class LabelLeak:
    """How well labels can be predicted from a teacher's changes: AUCs, .5 for chance and 1 for perfect prediction.

    Attributes:
        auc: AUC if the teacher gets the label of each source.
        unconditioned_auc: AUC if the teacher gets labels in random order. If this AUC is above .5, the changes depend
            on the sources (a change of contrast, for example, shows the image that it changes), not on the label.
    """

    auc: float
    unconditioned_auc: float


def label_leak(teacher: Teacher, images: Tensor, labels: Tensor, difficulty: float = 1.0, seed: int = 0) -> LabelLeak:
    """Measure whether a teacher's changes reveal the label, so that a student can ignore the image content.

    A small convolutional classifier is trained to predict the label y of each source x from the change alone, the
    difference ``T(x, y', z) - x``. It is evaluated by cross-validation with two folds, stratified by class; the AUCs of
    both folds are averaged. This is done twice, with the same latents and folds:

    - ``auc``: the teacher gets the label of the source, y' = y, as in a lesson;
    - ``unconditioned_auc``: the teacher gets the labels in random order, which are independent of y. The classifier
        still predicts y. This AUC is above .5 only because the changes depend on x.

    The label leak is the difference of ``auc`` and ``unconditioned_auc``. For a teacher that does not use labels, both
    are equal. The standard deviation of both by chance is about ``.6 / sqrt(B)``; a few hundred sources are needed to
    detect a difference of .05. For more than two classes and for multi-label tasks, the AUC is the mean over classes
    against the rest.

    Args:
        teacher: a teacher that changes source images.
        images: sources ``(B, C, H, W)`` or ``(B, C, D, H, W)``, on the teacher's device.
        labels: ``(B,)`` int64 or ``(B, K)`` float.
        difficulty: strength of the change.
        seed: seed of latents, permutation, folds and classifier; the same seed gives the same results.

    Raises:
        ConfigurationError: a teacher that makes images from labels alone, because its images should show the label.
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
    """Return fold 0 or 1 of each source ``(B,)``, alternating within each combination of labels."""
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
    """Return the classifier's input: reduced changes, scaled to about unit size."""
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
    # in a forked random state, so that a measurement during training does not change the random numbers of the run
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
    """Computes the mean of each channel over all positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(2).mean(2)
