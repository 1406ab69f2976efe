# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Folder of a real data set by name, or a skipped test that says what is missing."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("GMCL_DATA_DIR") or REPOSITORY.parent / "shared" / "data")
        if not (root / name).is_dir():
            pytest.skip(f"no real data at {root / name}; set GMCL_DATA_DIR")
        return root / name

    return find


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write a small image of one gray value or color, with the format of the name's suffix."""

    def write(path: Path, color: int | tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 6)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0]) if isinstance(color, int) else (size[1], size[0], 3)
        Image.fromarray(np.full(shape, color, dtype=np.uint8)).save(path)
        return path

    return write
