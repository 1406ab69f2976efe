# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write a small RGB image of random pixels, another one at each call."""
    generator = np.random.default_rng(0)

    def write(path: Path, size: tuple[int, int] = (12, 12), **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, **options)
        return path

    return write


@pytest.fixture
def folders(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """A good data set: ``train``, ``valid`` and ``test``, two classes of ten, four and four images."""
    for part, count in (("train", 10), ("valid", 4), ("test", 4)):
        for name in ("cat", "dog"):
            for index in range(count):
                picture(tmp_path / "data" / part / name / f"{index}.png")
    return tmp_path / "data"
