# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on one thread, for results that are equal bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, like workers of data loaders; with several threads, the order of sums differs.

    Otherwise, images made in the main process can differ in single bits from the same images made in a worker. Torch
    sets the number of threads for each Python thread separately; threads that have already used torch keep their
    number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
