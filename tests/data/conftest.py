# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write a small image of one gray value or color, with the format of the name's suffix."""

    def write(path: Path, color: int | tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 6)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0]) if isinstance(color, int) else (size[1], size[0], 3)
        Image.fromarray(np.full(shape, color, dtype=np.uint8)).save(path)
        return path

    return write
