# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Random transforms that depend only on seed, epoch and item."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms.transform import Randomizable
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["SeededItems"]


class SeededItems(Dataset[Any]):
    """A data set whose random transforms depend only on ``(seed, epoch, index)``, not on workers or order.

    MONAI seeds random transforms once per worker, by the index of the worker; without workers, it seeds them when the
    loader is built. With MONAI's loaders, the same seed therefore gives different images with 1, 2 or 4 workers. This
    data set seeds every random transform for each item. The same seed then gives the same images with any number of
    workers, forked or spawned, and in a run that is resumed at an epoch.

    Args:
        dataset: a map-style data set with MONAI's random transforms, such as ``CacheDataset``.
        seed: seed of the run.

    Example::

        items = SeededItems(CacheDataset(data, transform), seed=0)
        loader = DataLoader(items, batch_size=16, num_workers=4)
        # It is also a handler, which tells it the epoch: else every epoch shows the same images.
        SupervisedTrainer(..., train_data_loader=loader, train_handlers=[items])
        # In a loop of one's own:
        for epoch in range(epochs):
            items.set_epoch(epoch)
            for batch in loader: ...
    """

    def __init__(self, dataset: Dataset[Any], seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed
        # In shared memory, so that persistent workers also get the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._random = list(_random_parts(dataset, set()))

    def attach(self, engine: Engine) -> None:
        """Set the epoch at the start of each epoch of the engine."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._follow)

    def _follow(self, engine: Engine) -> None:
        self.set_epoch(engine.state.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; call this before each pass over the loader."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        assert isinstance(self.dataset, Sized)
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        position = range(len(self))[index]
        streams = np.random.SeedSequence([self.seed, int(self._epoch), position]).generate_state(len(self._random))
        for part, state in zip(self._random, streams, strict=True):
            part.set_random_state(int(state))
        return self.dataset[position]


def _random_parts(owner: Any, seen: set[int]) -> Iterator[Randomizable]:
    """Yield the random transforms of a data set; a composition seeds its own parts."""
    if id(owner) in seen or isinstance(owner, Tensor):
        return
    seen.add(id(owner))
    if isinstance(owner, Randomizable):
        yield owner
        # Some of MONAI's data sets are random themselves, and also have random transforms.
        if not isinstance(owner, Dataset):
            return
    for part in owner if isinstance(owner, list | tuple) else getattr(owner, "__dict__", {}).values():
        yield from _random_parts(part, seen)
