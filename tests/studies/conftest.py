# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from monai.data import set_track_meta

ROOT = Path(__file__).parents[2]
# Studies are not installed. Last, so that an installed package stays the one that is tested.
sys.path.append(str(ROOT))


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Folder of a real data set by name, or a skipped test that says what is missing."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("GMCL_DATA_DIR") or ROOT.parent / "shared" / "data")
        if not (root / name).is_dir():
            pytest.skip(f"no real data at {root / name}; set GMCL_DATA_DIR")
        return root / name

    return find


@pytest.fixture(autouse=True)
def meta_data_of_other_tests() -> Iterator[None]:
    """A study switches MONAI's meta data off for its process, which here is that of other tests too."""
    yield
    set_track_meta(True)
