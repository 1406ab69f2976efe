# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.metrics import operation_effects, prediction_error


def experiment(n=300, effects=(0.2, 0.0, -0.1), probabilities=(0.5, 0.5, 0.3), seed=0):
    """Which operations act, and errors to which each adds its effect; the first makes them scatter."""
    random = np.random.default_rng(seed)
    acts = random.random((n, len(effects))) < np.array(probabilities)
    errors = 0.3 + acts @ np.array(effects) + 0.1 * random.standard_normal(n) * (1 + acts[:, 0])
    return acts, errors


def by_definition(acts, errors):
    """Least squares and HC2, image by image in numpy."""
    design = np.column_stack([np.ones(len(acts)), acts]).astype(np.float64)
    coefficients = np.linalg.lstsq(design, errors, rcond=None)[0]
    inverse = np.linalg.pinv(design.T @ design)
    middle = np.zeros_like(inverse)
    for row, error in zip(design, errors, strict=True):
        residual = error - row @ coefficients
        middle += np.outer(row, row) * residual**2 / (1 - row @ inverse @ row)
    return coefficients[1:], np.sqrt(np.diag(inverse @ middle @ inverse))[1:]


@pytest.mark.parametrize(("n", "k"), [(20, 3), (300, 3), (80, 15)])
def test_effects_and_standard_errors_are_least_squares_with_hc2(n, k):
    random = np.random.default_rng(n)
    acts, errors = random.random((n, k)) < 0.5, random.random(n)
    effects, standard_errors = by_definition(acts, errors)
    found = operation_effects(torch.from_numpy(acts), torch.from_numpy(errors))
    np.testing.assert_allclose(found.effects, effects, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.standard_errors, standard_errors, rtol=1e-10)


def test_over_many_experiments_they_are_right_on_average_and_scatter_by_their_standard_error():
    truth = np.array([0.2, 0.0, -0.1])
    found = [operation_effects(*map(torch.from_numpy, experiment(120, truth, seed=seed))) for seed in range(400)]
    z = torch.stack([(f.effects - torch.from_numpy(truth)) / f.standard_errors for f in found])
    assert z.mean(0).abs().max() < 4 / math.sqrt(400)
    torch.testing.assert_close(z.std(0), torch.ones(3, dtype=torch.float64), rtol=0.12, atol=0)


def test_an_operation_that_never_or_always_acts_is_unknown_and_the_others_are_not():
    acts, errors = experiment()
    padded = np.column_stack([np.zeros(300, bool), acts[:, 0], np.ones(300, bool), acts[:, 1:]])
    padded[7, 0], padded[9, 2] = True, False  # one image is not enough
    found = operation_effects(torch.from_numpy(padded), torch.from_numpy(errors))
    assert found.effects[[0, 2]].isnan().all() and found.standard_errors[[0, 2]].isnan().all()
    np.testing.assert_allclose(found.effects[[1, 3, 4]], by_definition(acts, errors)[0], rtol=1e-10)


def test_too_few_images_to_tell_operations_apart_say_nothing():
    acts = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]]).bool()
    assert operation_effects(acts, torch.rand(4, generator=torch.Generator().manual_seed(0))).effects.isnan().all()
    twins, errors = experiment(50, (0.1,), (0.5,))
    found = operation_effects(torch.from_numpy(np.column_stack([twins, twins])), torch.from_numpy(errors))
    assert found.effects.isnan().all() and found.standard_errors.isnan().all()
    assert operation_effects(torch.zeros(0, 2, dtype=torch.bool), torch.zeros(0)).effects.isnan().tolist() == [True] * 2


def test_where_one_image_decides_the_standard_error_is_unknown():
    acts = torch.tensor([[1, 1], [1, 0], [1, 0], [0, 0], [0, 0], [0, 0], [0, 1], [0, 0]]).bool()
    decided = torch.cat([acts, acts[:, :1] ^ torch.eye(8, dtype=torch.bool)[:, :1]], 1)
    found = operation_effects(decided, torch.arange(8.0))
    assert found.effects.isfinite().all() and found.standard_errors.isnan().all()


def test_shapes_and_errors_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigurationError, match=r"acts \(n, K\) and errors \(n,\), got \(4, 2\) and \(3,\)"):
        operation_effects(torch.zeros(4, 2, dtype=torch.bool), torch.zeros(3))
    with pytest.raises(ConfigurationError, match="got 1 of 3 that are NaN or infinite"):
        operation_effects(torch.zeros(3, 2, dtype=torch.bool), torch.tensor([0, math.nan, 1]))


def test_the_error_of_a_prediction_is_what_the_label_lacks_in_probability():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, 50.0]])
    for labels in (torch.tensor([0, 1, 1]), torch.tensor([[0], [1], [1]])):
        torch.testing.assert_close(
            prediction_error(logits, labels), torch.tensor([0.5, 0.75, 0.0], dtype=torch.float64), atol=1e-12, rtol=1e-6
        )
    several = prediction_error(torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 1.0]]))
    assert several.item() == pytest.approx((0.25 + 0.5) / 2)
    assert prediction_error(torch.tensor([[math.log(3)]]), torch.tensor([[0.0]])).item() == pytest.approx(0.75)


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64)])
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(LabelError, match="Expected"):
        prediction_error(torch.zeros(3, 2), labels)


def test_the_error_of_a_mask_is_the_mean_over_its_classes() -> None:
    masks = torch.tensor([[0, 0, 0, 1], [2, 255, 2, 2]]).view(2, 1, 2, 2)
    probabilities = torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    expected = torch.tensor([(0.5 + 0.75) / 2, 0.75], dtype=torch.float64)
    for kind in (torch.int64, torch.uint8, torch.float32):
        torch.testing.assert_close(prediction_error(probabilities.log(), masks.to(kind)), expected)
    channel = (masks == 0).float()
    torch.testing.assert_close(
        prediction_error(torch.full((2, 1, 2, 2), math.log(3)), channel),
        torch.tensor([(0.25 + 0.75) / 2, 0.75], dtype=torch.float64),
    )
    with pytest.raises(LabelError, match="masks of the outputs' size"):
        prediction_error(torch.zeros(2, 3, 4, 4), masks)
