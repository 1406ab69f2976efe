# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_gmcl.weighting.distribution_alignment import DistributionAlignment


def observe(alignment: DistributionAlignment, rows: Tensor) -> None:
    alignment.observe(rows, torch.ones(len(rows), dtype=torch.bool))


def aligned(alignment: DistributionAlignment, probabilities: list[list[float]]) -> Tensor:
    return alignment(torch.tensor(probabilities).log(), binary=False).softmax(1)


def test_proposals_are_multiplied_by_the_share_of_their_class_over_its_running_mean() -> None:
    alignment = DistributionAlignment(0.01)
    observe(alignment, torch.eye(2)[[0, 0, 0, 0, 0, 0, 1]])  # 7 : 2 of 9, with one image more of each class
    found = aligned(alignment, [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])  # means .5 and .5
    wanted = torch.tensor([[0.9 * 7, 0.1 * 2], [0.5 * 7, 0.5 * 2], [0.1 * 7, 0.9 * 2]])
    torch.testing.assert_close(found, wanted / wanted.sum(1, keepdim=True))


def test_the_running_mean_forgets_and_does_so_faster_at_first() -> None:
    alignment = DistributionAlignment(0.75)
    proposals = [0.9, 0.2, 0.6, 0.7, 0.5]
    for p in proposals[:-1]:
        aligned(alignment, [[1 - p, p]])
    observe(alignment, torch.eye(2))
    mean = proposals[0]
    for p, share in zip(proposals[1:], (9 / 10, 9 / 11, 0.75, 0.75), strict=True):
        mean = (1 - share) * mean + share * p
    # Both classes have the same share, so that of p = .5 the odds of the running mean are left, turned around.
    assert float(aligned(alignment, [[0.5, 0.5]])[0, 1]) == pytest.approx(1 - mean, rel=1e-5)


def test_without_labeled_images_proposals_stay_as_they_are() -> None:
    assert aligned(DistributionAlignment(0.01), [[0.3, 0.7]])[0, 1] == pytest.approx(0.7)


def test_a_class_that_has_not_come_yet_can_still_be_proposed() -> None:
    alignment = DistributionAlignment(0.01)
    observe(alignment, torch.eye(3)[[0] * 8])
    found = aligned(alignment, [[0.005, 0.99, 0.005], [0.99, 0.005, 0.005]])
    assert found.argmax(1).tolist() == [1, 0] and bool(found.isfinite().all())


def test_a_class_that_is_never_proposed_divides_nothing_by_zero() -> None:
    alignment = DistributionAlignment(0.01)
    observe(alignment, torch.eye(2))
    assert bool(alignment(torch.tensor([[200.0, -200.0]]), binary=False).isfinite().all())


@pytest.mark.parametrize("outputs", [1, 3])
def test_each_of_several_labels_is_aligned_as_two_classes_are(outputs: int) -> None:
    binary, classes = DistributionAlignment(0.1), DistributionAlignment(0.1)
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    observe(binary, labels[:, None].expand(5, outputs))
    observe(classes, torch.eye(2)[labels.long()])
    for p in (0.3, 0.8):
        of_label = binary(torch.logit(torch.full((2, outputs), p)), binary=True).sigmoid()
        torch.testing.assert_close(of_label, aligned(classes, [[1 - p, p]])[:, 1:].expand(2, outputs))


def test_what_is_saved_can_be_put_back() -> None:
    first, second = DistributionAlignment(0.1), DistributionAlignment(0.1)
    observe(first, torch.eye(2)[[0, 1, 1]])
    aligned(first, [[0.4, 0.6]])
    second.load_state_dict(first.state_dict())
    for alignment in (first, second):
        observe(alignment, torch.eye(2)[[1]])
    assert torch.equal(aligned(first, [[0.2, 0.8]]), aligned(second, [[0.2, 0.8]]))
