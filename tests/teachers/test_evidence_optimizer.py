# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.evidence_optimizer import EvidenceOptimizer


def descend(gradients, **options):
    """Step along the rows of ``gradients``; return the optimizer and its parameter."""
    parameter = torch.zeros(gradients.shape[1], dtype=gradients.dtype, requires_grad=True)
    optimizer = EvidenceOptimizer([parameter], **options)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return optimizer, parameter


def noise(steps, count, seed=0):
    return torch.randn(steps, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def independent_evidence(values, memory):
    """Weighted mean over its standard error, with Kish's effective number of values."""
    weights = memory ** np.arange(len(values))[::-1]
    weights = weights / weights.sum()
    mean = (weights * values).sum()
    variance = (weights * (values - mean) ** 2).sum()
    count = 1 / (weights**2).sum()
    return mean / math.sqrt(variance / (count - 1))


@pytest.mark.parametrize("steps", [2, 7, 400])
def test_evidence_is_the_weighted_mean_in_units_of_its_standard_error(steps):
    gradients = noise(steps, 3) + torch.tensor([0.0, 1.0, -2.0])
    optimizer, parameter = descend(gradients, memory=0.97)
    expected = [independent_evidence(gradients[:, k].numpy(), 0.97) for k in range(3)]
    np.testing.assert_allclose(optimizer.evidence(parameter).numpy(), expected, rtol=1e-9)


def test_evidence_does_not_depend_on_the_scale_of_gradients():
    gradients = noise(50, 4) + 1
    small, large = (descend(gradients * scale)[1] for scale in (1e-12, 1e6))
    torch.testing.assert_close(small, large, rtol=1e-6, atol=0)


def test_numbers_without_a_signal_stay_near_zero_where_adam_walks_away():
    gradients = noise(2000, 200)
    _, parameter = descend(gradients)
    walked = torch.zeros(200, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([walked], lr=0.1)
    for gradient in gradients:
        walked.grad = gradient.clone()
        adam.step()
    assert parameter.abs().median() < 0.05
    assert walked.abs().median() > 0.5


def test_a_steady_signal_moves_against_the_gradient():
    gradients = noise(300, 2) + torch.tensor([1.0, -1.0])
    _, parameter = descend(gradients)
    assert parameter[0] < -2
    assert parameter[1] > 2


def test_without_evidence_a_number_stays_where_an_earlier_run_left_it():
    parameter = torch.tensor([-2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = EvidenceOptimizer([parameter], threshold=100.0)
    for gradient in noise(100, 2):
        parameter.grad = gradient
        optimizer.step()
    assert parameter.tolist() == pytest.approx([-2.0, 0.5])


def test_nothing_moves_while_evidence_is_gathered():
    gradients = noise(20, 2) + 5
    assert torch.equal(descend(gradients, warm_up=20)[1], torch.zeros(2, dtype=torch.float64))
    assert descend(gradients, warm_up=19)[1].abs().min() > 0


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_gradients_that_never_change_are_no_division_by_zero(value):
    _, parameter = descend(torch.full((40, 2), value, dtype=torch.float64))
    assert torch.isfinite(parameter).all()


def test_before_the_first_step_there_is_no_evidence():
    parameter = torch.zeros(3, requires_grad=True)
    optimizer = EvidenceOptimizer([parameter])
    optimizer.step()
    assert torch.equal(optimizer.evidence(parameter), torch.zeros(3))


def test_a_saved_optimizer_goes_on_bit_for_bit():
    gradients = noise(60, 3) + 1
    _, whole = descend(gradients)
    optimizer, parameter = descend(gradients[:31])
    resumed = parameter.detach().clone().requires_grad_()
    again = EvidenceOptimizer([resumed])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in gradients[31:]:
        resumed.grad = gradient.clone()
        again.step()
    assert torch.equal(resumed, whole)


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"lr": 1.5}, {"memory": 1.0}, {"memory": -0.1}, {"gain": -1.0}, {"threshold": -1.0}]
)
def test_an_option_outside_its_range_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EvidenceOptimizer([torch.zeros(1, requires_grad=True)], **wrong)
