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


def test_samples_of_one_distribution_are_at_no_distance_on_average_and_of_two_are_far() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 2, 20, 4, generator=generator)
    near = torch.tensor([kernel_distance(a, b) for a, b in samples])
    assert abs(near.mean()) < 3 * near.std() / 400**0.5
    far = torch.tensor([kernel_distance(a + 1, b) for a, b in samples[:20]])
    assert far.mean() > 3 * near.std()
