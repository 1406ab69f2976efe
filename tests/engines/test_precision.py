# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Mixed precision: the teacher hears the same as in single precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
)

Build = Callable[..., GMCLTrainer]


class SmoothStudent(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        )


def signals(build: Build, hypergradient: Hypergradient, **options: Any) -> list[Tensor]:
    """What an estimator returns in the first steps of a run."""
    found: list[Tensor] = []

    class Noting(Hypergradient):
        watch = staticmethod(hypergradient.watch)  # type: ignore[assignment]
        reads = staticmethod(hypergradient.reads)  # type: ignore[assignment]

        def __call__(self, lessons: Sequence[Any], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
            result = hypergradient(lessons, look_ahead)
            found.append(result[0].double().flatten())
            return result

    torch.manual_seed(0)
    network = SmoothStudent()
    sgd = torch.optim.SGD(network.parameters(), lr=0.1)
    build(network=network, optimizer=sgd, hypergradient=Noting(), max_epochs=1, **options).run()
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "hypergradient",
    [HeadHypergradient(), ExactHypergradient(), ForwardHypergradient(), FiniteDifferenceHypergradient()],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_hypergradient_points_where_that_of_single_precision_does(
    hypergradient: Hypergradient, dtype: torch.dtype, trainer: Build
) -> None:
    single = signals(trainer, hypergradient)
    mixed = signals(trainer, hypergradient, amp=True, amp_kwargs={"dtype": dtype})
    assert len(single) == len(mixed) > 2
    cosines = [float(torch.cosine_similarity(a, b, dim=0)) for a, b in zip(single, mixed, strict=True)]
    assert min(cosines) >= 0.99, cosines
