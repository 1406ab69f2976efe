# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Diversity of a teacher's images."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers import Teacher, draw_latents

__all__ = ["diversity", "diversity_kept", "teacher_diversity"]


def diversity(images: Tensor) -> float:
    """Return the root mean square difference of two images, averaged over all pairs.

    ``2 / (n (n - 1)) * sum_{i<j} sqrt(mean((x_i - x_j)^2))``, in units of the pixel values; 0 for equal images.

    Args:
        images: two or more images of one shape, ``(n, ...)``.

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
    """Return the :func:`diversity` of ``draws`` synthetic images of each source, averaged over sources.

    For a teacher without sources, images of one label are compared. A low value means that the teacher repeats the same
    change. After training, the value should be at least half of that of the untrained teacher at the same difficulty
    (:func:`diversity_kept`).

    Args:
        teacher: the teacher; its mode (training or evaluation) is not changed.
        images: sources ``(B, C, H, W)`` or ``(B, C, D, H, W)``, on the teacher's device; for a teacher without sources,
            only the shape is used.
        labels: ``(B,)`` or ``(B, K)``.
        difficulty: strength of the change.
        draws: number of images of each source, two or more.
        seed: seed of the latents; with the same seed, two teachers get the same latents.

    Returns:
        Root mean square difference, in units of the images (after normalization, if they are normalized).

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
    """Return the diversity of a trained teacher relative to the untrained teacher; below .5, the teacher has collapsed.

    The untrained teacher is built from the constructor arguments (``teacher.config``), initialized by the seed, and
    gets the same sources, latents and difficulty, which must be above 0. Arguments are those of
    :func:`teacher_diversity`.

    Raises:
        ConfigurationError: fewer than two draws, or an untrained teacher without diversity, as at difficulty 0.
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
