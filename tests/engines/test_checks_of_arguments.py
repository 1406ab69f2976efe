# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from monai_gmcl import GMCLTrainer, UnrolledHypergradient
from monai_gmcl.exceptions import ConfigurationError

Build = Callable[..., GMCLTrainer]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_interval": 0}, "teacher_interval must be a positive integer, got 0"),
        ({"accumulation_steps": 0}, "accumulation_steps must be a positive integer, got 0"),
        ({"hypergradient": UnrolledHypergradient(3)}, "teacher_interval must be at least 3, got 1"),
        (
            {"hypergradient": UnrolledHypergradient(1), "accumulation_steps": 2},
            "accumulation_steps=1 .* got 2",
        ),
        ({"hypergradient": UnrolledHypergradient(1), "amp": True}, "amp=False, got 1 and True"),
    ],
)
def test_an_estimator_that_could_not_hear_lessons_set_as_often_as_this_is_refused(
    changes: dict[str, Any], message: str, trainer: Build
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        trainer(**changes)
