# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.losses import FocalLoss
from torch import Tensor, nn

from monai_gmcl.exceptions import LabelError
from monai_gmcl.labels import (
    checked_for_teacher,
    class_ids,
    is_multi_label,
    known_label_vectors,
    labels_for_loss,
    labels_for_teacher,
)

ONE_HOT = torch.eye(3)[[0, 1, 2, 0, 1, 2]]


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_class_indices_of_any_type_and_in_a_column_go_with_cross_entropy_and_teachers(kind: Any) -> None:
    column = torch.tensor([[2], [0]]).to(kind)
    for made in (labels_for_loss(nn.CrossEntropyLoss(), column), labels_for_teacher(column)):
        assert made.dtype == torch.int64 and made.tolist() == [2, 0]
    assert labels_for_loss(FocalLoss(to_onehot_y=True), column) is column
    assert labels_for_teacher(torch.tensor([0.0, 1.0])).shape == (2, 1)
    assert labels_for_teacher(ONE_HOT.long()).dtype == torch.float32


@pytest.mark.parametrize(
    ("labels", "columns", "rows"),
    [
        (torch.tensor([[2], [-100], [0]]), 3, [[0, 0, 1], [1, 0, 0]]),
        (torch.tensor([1, 255, 0]), 2, [[0, 1], [1, 0]]),
        (torch.tensor([0, 1]), 1, [[0], [1]]),
        (torch.tensor([0.25, 1.0]), 1, [[0.25], [1]]),
        (torch.tensor([[0.0, 1.0], [1.0, 1.0]]), 2, [[0, 1], [1, 1]]),
    ],
)
def test_known_labels_are_rows_and_those_without_a_class_are_left_out(labels: Tensor, columns: int, rows: Any) -> None:
    found, known = known_label_vectors(labels, columns)
    assert found[known].tolist() == rows and not found[~known].any()


def test_the_class_of_several_labels_is_0() -> None:
    assert class_ids(ONE_HOT) == [0] * 6 and is_multi_label(ONE_HOT)
    assert class_ids(torch.tensor([[1.0], [0.0]])) == [1, 0] and not is_multi_label(torch.tensor([[1.0], [0.0]]))


@pytest.mark.parametrize(
    "labels", [torch.tensor([True]), torch.tensor([3]), torch.tensor([[0.5, 1.5, 0.0]]), torch.tensor([0.5])]
)
def test_labels_that_no_teacher_takes_are_refused(labels: Tensor) -> None:
    with pytest.raises(LabelError, match="Expected"):
        checked_for_teacher(labels, 3)
