# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Estimators of the hypergradient, and update rules of optimizers."""

from __future__ import annotations

from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.hypergradients.exact import ExactHypergradient
from monai_gmcl.hypergradients.finite_difference import FiniteDifferenceHypergradient
from monai_gmcl.hypergradients.forward import ForwardHypergradient
from monai_gmcl.hypergradients.head import HeadHypergradient
from monai_gmcl.hypergradients.unrolled import UnrolledHypergradient
from monai_gmcl.hypergradients.update_rules import register_update_rule

ESTIMATORS: tuple[type[Hypergradient], ...] = (
    HeadHypergradient,
    ExactHypergradient,
    ForwardHypergradient,
    FiniteDifferenceHypergradient,
    UnrolledHypergradient,
)
"""All estimators of the package, the default first."""

__all__ = [
    "ESTIMATORS",
    "ExactHypergradient",
    "FiniteDifferenceHypergradient",
    "ForwardHypergradient",
    "HeadHypergradient",
    "Hypergradient",
    "UnrolledHypergradient",
    "register_update_rule",
]
