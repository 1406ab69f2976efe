# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from monai.data import set_track_meta

ROOT = Path(__file__).parents[2]
# Studies are not installed. Last, so that an installed package stays the one that is tested.
sys.path.append(str(ROOT))


@pytest.fixture(autouse=True)
def meta_data_of_other_tests() -> Iterator[None]:
    """A study switches MONAI's meta data off for its process, which here is that of other tests too."""
    yield
    set_track_meta(True)
