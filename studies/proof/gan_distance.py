# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How far generated images are from real ones, by features of a network."""

from __future__ import annotations

from torch import Tensor

__all__ = ["kernel_distance"]


def kernel_distance(features: Tensor, real_features: Tensor) -> float:
    """Return the squared maximum mean discrepancy of two sets of features, with the kernel ``(a . b / F + 1)^3``.

    The unbiased estimator, as in the kernel Inception distance, KID (Binkowski et al. 2018, arXiv 1801.01401): about 0
    for two samples of one distribution, sometimes below. Numbers compare only for the same network: with other features
    than Inception's, they are on another scale than published KIDs.

    Args:
        features: of generated images, ``(N, F)``, N of at least 2.
        real_features: of real images, ``(M, F)``, M of at least 2.
    """
    x, y = features.double(), real_features.double()
    return float(_mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    similarity: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return similarity


def _mean_of_pairs(x: Tensor) -> Tensor:
    table = _kernel(x, x)
    return (table.sum() - table.diagonal().sum()) / (len(x) * (len(x) - 1))
