# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from monai_gmcl.data import make_phantom


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom, which tests only read."""
    return make_phantom(tmp_path_factory.mktemp("data") / "phantom", {"train": 4, "valid": 2, "test": 3}, size=32)
