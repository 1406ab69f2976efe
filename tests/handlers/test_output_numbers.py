# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import torch

from monai_gmcl.handlers.output_numbers import numbers_of, output_number


def test_a_number_is_found_in_a_dictionary_and_in_a_list_of_them():
    assert output_number({"loss": torch.tensor(0.5)}, "loss") == 0.5
    assert output_number([{"loss": 0.5}, {"loss": 0.5}], "loss") == 0.5


def test_what_is_missing_is_not_a_number():
    assert math.isnan(output_number({"image": torch.zeros(2, 1)}, "loss"))
    assert math.isnan(output_number([{"loss": None}], "loss"))


def test_only_single_numbers_are_kept():
    values = {"a": 1, "b": np.float32(0.5), "c": torch.tensor([2.0]), "d": torch.ones(2), "e": "word", "f": np.ones(3)}
    assert numbers_of(values) == {"a": 1.0, "b": 0.5, "c": 2.0}
