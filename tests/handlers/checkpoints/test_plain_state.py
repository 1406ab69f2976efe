# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections import OrderedDict
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import CommonKeys

from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers.checkpoints.plain_state import plain


class Colour(str, Enum):
    RED = "red"


def test_what_weights_only_would_refuse_is_made_plain() -> None:
    state = {
        CommonKeys.IMAGE: MetaTensor(torch.ones(2), meta={"affine": np.eye(4)}),
        "numpy": [np.float64(0.5), np.int64(3), np.bool_(True)],
        "colour": Colour.RED,
        "nested": OrderedDict(pair=(1, None), parameter=torch.nn.Parameter(torch.zeros(1))),
        7: 2.5,
    }
    file = io.BytesIO()
    torch.save(plain(state, "state"), file)
    file.seek(0)
    found = torch.load(file, weights_only=True)
    assert type(found["image"]) is torch.Tensor and found["image"].tolist() == [1, 1]
    assert found["numpy"] == [0.5, 3, True]
    assert found["colour"] == "red" and found["nested"]["pair"] == (1, None) and found[7] == 2.5
    assert not found["nested"]["parameter"].requires_grad


def test_a_view_is_saved_without_the_rest_of_its_storage() -> None:
    file = io.BytesIO()
    torch.save(plain({"row": torch.zeros(1000, 1000)[0]}, "state"), file)
    assert file.tell() < 20_000


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"schedule": [1, len]}, r"state\['schedule'\]\[1\] is a builtin_function_or_method"),
        ({"rates": np.ones(2)}, r"state\['rates'\] is a ndarray"),
        ({(1, 2): 3}, r"state has the key \(1, 2\)"),
    ],
)
def test_other_things_are_refused_by_name(state: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        plain(state, "state")
