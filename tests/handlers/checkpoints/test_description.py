# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from monai_gmcl.handlers.checkpoints.description import described

PAIRS: dict[str, tuple[Any, Any]] = {
    "a weight of classes": (nn.CrossEntropyLoss(torch.ones(2)), nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]))),
    "an option of a loss": (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(ignore_index=3)),
    "a type of numbers": (SimpleNamespace(dtype=torch.float32), SimpleNamespace(dtype=torch.float16)),
    "an argument held back": (functools.partial(max, 1), functools.partial(max, 2)),
    "a long list": (list(range(200)), [*range(199), 0]),
    "an array": (np.zeros(3), np.array([0.0, 0.0, 1.0])),
    "bfloat16": (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    "another function": (nn.functional.cross_entropy, nn.functional.nll_loss),
}


@pytest.mark.parametrize("what", PAIRS)
def test_what_differs_is_described_otherwise(what: str) -> None:
    one, other = PAIRS[what]
    assert described(one) != described(other)
    assert described(one) == described(one)


def test_where_an_object_lies_in_memory_is_not_described() -> None:
    assert described([object(), SimpleNamespace(inner=object())]) == described(
        [object(), SimpleNamespace(inner=object())]
    )


def test_objects_that_hold_each_other_come_to_an_end() -> None:
    one, other = SimpleNamespace(number=1), SimpleNamespace(number=2)
    one.other, other.one = other, one
    one.all = [one, other] * 10
    assert described(one)["other"] == {"class": "SimpleNamespace", "number": 2, "one": "SimpleNamespace"}
