# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How different the images of a teacher are."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers import Teacher, draw_latents


def diversity(images: Tensor) -> float:
    """How far apart images are: the root mean square difference of two of them, averaged over all pairs.

    ``2 / (n (n - 1)) * sum_{i<j} sqrt(mean((x_i - x_j)^2))``, in the unit of the pixel values; 0 for copies.

    Args:
        images: two or more of one shape, ``(n, ...)``.

    Raises:
        ConfigurationError: fewer than two images.
    """
    if len(images) < 2:
        raise ConfigurationError(f"Diversity needs at least two images, got {len(images)}.")
    flat = images.detach().flatten(1).double()
    return float(torch.pdist(flat).mean() / flat.shape[1] ** 0.5)


@torch.no_grad()
def teacher_diversity(
    teacher: Teacher, images: Tensor, labels: Tensor, difficulty: float = 1.0, draws: int = 8, seed: int = 0
) -> float:
    """How different a teacher's draws of one source are: :func:`diversity` of ``draws`` of each, averaged over sources.

    Of a teacher without sources, the draws of each image's label are compared. A low value means that the teacher has
    come to show the student the same change again and again. Training must leave at least half of what the untrained
    teacher has at the same difficulty (:func:`diversity_kept`).

    Args:
        teacher: the teacher, in the mode (training or evaluation) that it is in.
        images: sources ``(B, C, H, W)`` or ``(B, C, D, H, W)``, on the teacher's device; of a teacher without sources
            only the shape counts.
        labels: ``(B,)`` or ``(B, K)``.
        difficulty: at which to draw.
        draws: of each source, two or more.
        seed: of the latents; the same seed compares two teachers on the same latents.

    Returns:
        Root mean square difference, in the unit of the images (after normalization, where they are normalized).

    Raises:
        ConfigurationError: fewer than two draws.
    """
    generator = torch.Generator().manual_seed(seed)
    values = []
    for image, label in zip(images, labels, strict=True):
        latents = draw_latents(teacher, draws, image.shape, generator).to(images.device)
        sources = image.expand(draws, *image.shape) if teacher.needs_images else None
        values.append(diversity(teacher(sources, label.expand(draws, *label.shape), latents, difficulty)))
    return sum(values) / len(values)


def diversity_kept(
    teacher: Teacher, images: Tensor, labels: Tensor, difficulty: float = 1.0, draws: int = 8, seed: int = 0
) -> float:
    """Diversity of a trained teacher as a share of that of its untrained self; below .5 it has collapsed.

    The untrained self is built anew from the teacher's constructor arguments (``teacher.config``), initialized by the
    seed, and sees the same sources, latents and difficulty, which must be above 0. Arguments are those of
    :func:`teacher_diversity`.

    Raises:
        ConfigurationError: fewer than two draws, or an untrained teacher whose draws are all alike, as at difficulty 0.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = type(teacher)(**teacher.config).to(images.device).train(teacher.training)
    start = teacher_diversity(untrained, images, labels, difficulty, draws, seed)
    if start == 0:
        raise ConfigurationError(
            f"The images of the untrained teacher are identical at difficulty {difficulty}. Use a difficulty above 0."
        )
    return teacher_diversity(teacher, images, labels, difficulty, draws, seed) / start
