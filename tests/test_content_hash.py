# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0


from __future__ import annotations

import torch

from monai_gmcl.content_hash import content_hash


def test_each_part_of_what_is_hashed_counts() -> None:
    told, tensors = {"a": 1}, {"w": torch.arange(6.0)}
    others = [
        ({"a": 2}, tensors),
        (told, {"v": tensors["w"]}),
        (told, {"w": tensors["w"].double()}),
        (told, {"w": tensors["w"].reshape(2, 3)}),
        (told, {"w": tensors["w"] + torch.tensor([0, 0, 0, 0, 0, 1e-6])}),
        (told, {}),
    ]
    assert len({content_hash(*pair) for pair in [(told, tensors), *others]}) == 7


def test_order_strides_and_the_hash_itself_do_not_count() -> None:
    one, two = torch.arange(6.0).reshape(2, 3), torch.ones(1)
    expected = content_hash({"a": 1, "b": 2}, {"one": one, "two": two})
    strided, expanded = one.t().contiguous().t(), torch.as_strided(two, (1,), (0,))
    assert content_hash({"b": 2, "a": 1, "sha256": "x"}, {"two": expanded, "one": strided}) == expected


def test_numbers_of_any_kind_and_empty_tensors_are_hashed() -> None:
    kinds = (torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex64)
    found = {content_hash({}, {"w": torch.zeros(size, dtype=kind)}) for kind in kinds for size in ((), (0,), (2,))}
    assert len(found) == 15
