# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a student learned from in one step, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

__all__ = ["write_picture"]

ROWS, COLUMNS = 4, 8
"""Images of each pass."""
GAP = 2
"""Pixels between them."""
TIMES = 2
"""By how much they are enlarged."""


def write_picture(path: Path, passes: Sequence[Tensor]) -> None:
    """Write what a student learned from in one step: one block of images for each of its passes.

    The images may be patients': the folder gets a ``.gitignore`` that keeps it out of repositories.

    Args:
        path: of the PNG; its folder is made.
        passes: images ``(B, 1, H, W)`` or ``(B, 3, H, W)``, from 0 to 1; what is outside is clipped. Of volumes
            ``(B, C, D, H, W)`` the middle slice is shown.
    """
    flat = [images[:, :, images.shape[2] // 2] if images.ndim == 5 else images for images in passes]
    blocks = [_block(images.clamp(0, 1)) for images in flat]
    wide = torch.ones(blocks[0].shape[0], blocks[0].shape[1], 4 * GAP)
    joined = torch.cat([part for block in blocks for part in (block, wide)][:-1], 2)
    pixels = (joined * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    image.resize((image.width * TIMES, image.height * TIMES), Image.Resampling.NEAREST).save(path)


def _block(images: Tensor) -> Tensor:
    """Join images to ``(C, ROWS · H, COLUMNS · W)`` with white between them; places without an image stay white."""
    _, channels, height, width = images.shape
    tiles = torch.ones(ROWS * COLUMNS, channels, height + GAP, width + GAP)
    tiles[: len(images), :, :height, :width] = images[: ROWS * COLUMNS]
    grid = tiles.view(ROWS, COLUMNS, channels, height + GAP, width + GAP).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, ROWS * (height + GAP), COLUMNS * (width + GAP))
