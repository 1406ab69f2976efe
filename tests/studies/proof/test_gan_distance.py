# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from studies.proof.gan_distance import kernel_distance


def test_the_distance_is_the_mean_kernel_of_pairs() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).double()

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / 3 + 1) ** 3

    within_x = [kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    expected = sum(within_x) / 20 + sum(within_y) / 12 - 2 * sum(between) / 20
    assert kernel_distance(x, y) == pytest.approx(expected, abs=1e-9)
