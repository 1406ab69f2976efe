# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on one thread, which gives the same bits on each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, as data loaders' workers do: on several, sums are taken in another order.

    Without it, images made in the main process differ in a bit from the same images made in a worker. Torch counts
    threads for each Python thread on its own: those that have used it already keep their number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
