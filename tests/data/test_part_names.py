# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from monai_gmcl.data.part_names import part_name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("train", "training"), ("Training", "training"), ("TRAIN", "training"), ("train_set", "training")),
        *(("val", "validation"), ("Valid", "validation"), ("validation", "validation"), ("Dev", "validation")),
        *(("test", "test"), ("Testing", "test"), ("test-images", "test"), (" Test set ", "test")),
        *(("trained", None), ("fold_0", None), ("", None), ("set", None), ("numTraining", None), ("masks", None)),
    ],
)
def test_parts_have_usual_names_in_small_or_capital_letters(name: str, part: str | None) -> None:
    assert part_name(name) == part
