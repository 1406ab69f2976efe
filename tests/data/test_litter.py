# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from monai_gmcl.data.litter import is_litter


@pytest.mark.parametrize("name", ["thumbs.png", "macosx", "a.db", "desktop", "~a.png"])
def test_other_names_are_no_litter(name: str) -> None:
    assert not is_litter(name)
