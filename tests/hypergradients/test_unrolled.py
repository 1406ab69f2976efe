# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from monai_gmcl import UnrolledHypergradient
from monai_gmcl.exceptions import ConfigurationError, UnsupportedOptimizerError


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "dampening", "nesterov", "adam", "adam, decoupled", "adamw"])
def test_several_unrolled_steps_are_what_a_moved_pixel_does_to_the_look_ahead_loss(
    optimizer: str, witness: Any, relative: Callable[[Tensor, Tensor], float]
) -> None:
    seen = witness(optimizer, lookback=3, steps=6)
    hypergradient, _ = UnrolledHypergradient(3)(*seen.heard())
    assert relative(*seen.pixels(hypergradient, 4)) < 1e-5


def test_unrolling_no_step_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1, got 0"):
        UnrolledHypergradient(0)


def test_an_optimizer_whose_step_is_not_known_is_refused(witness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lessons, look_ahead = witness().heard()
    monkeypatch.setattr(lessons[0].real_step, "optimizer", "RMSprop")
    with pytest.raises(UnsupportedOptimizerError, match="supports SGD, Adam, AdamW, got RMSprop.*ExactHypergradient"):
        UnrolledHypergradient(1)(lessons, look_ahead)
