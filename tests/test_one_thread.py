# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading

import pytest
import torch

from monai_gmcl.one_thread import one_thread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_torch_has_one_thread_inside_and_its_own_number_afterwards() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_python_threads_that_use_torch_already_keep_their_number() -> None:
    found: list[int] = []

    def look() -> None:
        torch.set_num_threads(2)
        torch.get_num_threads()
        ready.set()
        inside.wait(timeout=30)
        found.append(torch.get_num_threads())

    ready, inside = threading.Event(), threading.Event()
    other = threading.Thread(target=look)
    other.start()
    ready.wait(timeout=30)
    with one_thread():
        inside.set()
        other.join(timeout=30)
    assert found == [2]
