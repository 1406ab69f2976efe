# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator

import pytest
from monai.data import set_track_meta


@pytest.fixture(autouse=True)
def meta_data_of_other_tests() -> Iterator[None]:
    """Benchmarks switch MONAI's meta data off for their process, which here is that of other tests too."""
    yield
    set_track_meta(True)
