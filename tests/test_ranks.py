# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.ranks import Ranks, on_first_rank


def test_alone_nothing_is_exchanged() -> None:
    ranks = Ranks()
    assert ranks.alone and ranks.index == 0
    rows = torch.arange(6.0).view(3, 2)
    assert ranks.all_gather(rows) is rows
    before = rows.clone()
    ranks.all_reduce([rows])
    ranks.average([rows])
    ranks.broadcast([rows])
    assert torch.equal(rows, before)


@pytest.mark.parametrize("index", [0, 1])
def test_a_handler_that_writes_attaches_on_the_first_rank_alone(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "__init__", lambda self: setattr(self, "index", index))
    attached = []

    class Handler:
        @on_first_rank
        def attach(self, engine: str) -> None:
            """Follow an engine."""
            attached.append(engine)

    Handler().attach("engine")
    assert attached == ["engine"] * (index == 0)
    assert Handler.attach.__doc__ == "Follow an engine."
