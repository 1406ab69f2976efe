# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from monai_gmcl.benchmark.picture import write_picture


def test_each_pass_has_a_block_of_its_images(tmp_path: Path) -> None:
    real, lesson = torch.full((40, 3, 6, 6), 0.2), torch.full((3, 3, 6, 6), 0.6)
    write_picture(tmp_path / "pictures" / "step.png", [real, lesson])
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "step.png"))
    assert pixels.shape == (2 * 4 * 8, 2 * (2 * 8 * 8 + 8), 3)
    share = {level: float((pixels == round(level * 255)).mean()) for level in (0.2, 0.6)}
    assert share[0.2] * pixels[..., 0].size == 32 * 36 * 4 and share[0.6] * pixels[..., 0].size == 3 * 36 * 4


def test_grey_images_stay_grey_and_are_clipped(tmp_path: Path) -> None:
    write_picture(tmp_path / "step.png", [torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)])
    image = Image.open(tmp_path / "step.png")
    assert image.mode == "L" and set(np.unique(image)) == {0, 255}


def test_of_volumes_the_middle_slice_is_shown(tmp_path: Path) -> None:
    volume = torch.linspace(0, 1, 5)[None, None, :, None, None].expand(1, 1, 5, 4, 4)
    write_picture(tmp_path / "step.png", [volume])
    assert set(np.unique(Image.open(tmp_path / "step.png"))) == {128, 255}
