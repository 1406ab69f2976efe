# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements and pictures of the images that an arm makes: diversity, and distance to labeled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from monai_gmcl.benchmark.data_sets import Images
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.metrics import diversity, memorization, small_pixels
from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet
from monai_gmcl.teachers.base import draw_latents

__all__ = ["diversity_of_some", "lesson_measures", "write_picture"]

ROWS, COLUMNS = 4, 8
"""Images of each pass in a picture."""
COMPARED = 500
"""Images whose diversity is measured, at most: it takes all pairs."""


def diversity_of_some(images: Tensor) -> float:
    """Return :func:`monai_gmcl.metrics.diversity` of up to 500 images, evenly spaced: they come class by class."""
    return diversity(images[:: -(-len(images) // COMPARED)])


@torch.no_grad()
def lesson_measures(trainer: GMCLTrainer, labeled: Images, seed: int) -> dict[str, float]:
    """Return diversity and memorization of one lesson image for each labeled one, as the teacher ended.

    A teacher that changes images stays near them: its share of memorization is high because it may be, and low where
    changes are strong. ``diversity_real`` is that of the labeled images.
    """
    images, labels = (part.to(trainer.device) for part in labeled)
    generator = torch.Generator().manual_seed(seed)
    latents = draw_latents(trainer.teacher, len(images), images.shape[1:], generator).to(trainer.device)
    difficulty = trainer.state.curriculum["difficulty"]
    sources = images if getattr(trainer.teacher, "needs_images", True) else None
    made = trainer.teacher(sources, labels, latents, difficulty).cpu()
    return {
        "diversity": diversity_of_some(made),
        "diversity_real": diversity_of_some(labeled[0]),
        "memorization": memorization(made, labeled[0], small_pixels).share,
    }


def write_picture(path: Path, passes: Sequence[Tensor]) -> None:
    """Write what a student learned from in one step: a block of images for each of its passes, twice their size.

    Images are ``(B, C, H, W)``, or ``(B, C, D, H, W)`` of which the middle slice is shown, clipped to 0 to 1. They may
    be patients': the folder, which is made, gets a ``.gitignore`` that keeps it out of repositories.
    """
    starts = range(0, min(ROWS * COLUMNS, max(map(len, passes))), COLUMNS)
    rows = [SheetRow("", [images[start : start + COLUMNS] for images in passes]) for start in starts]
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    path.write_bytes(image_sheet(rows, tile=2 * max(passes[0].shape[-2:])))
