# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Random transforms that depend on seed, epoch and item alone."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms.transform import Randomizable
from torch import Tensor
from torch.utils.data import Dataset


class SeededItems(Dataset[Any]):
    """A data set whose random transforms depend on ``(seed, epoch, index)`` alone: not on workers, nor on the order.

    MONAI seeds random transforms once for each worker, by the worker's number, and without workers when the loader is
    built. A transform cannot know which item it changes, so that with stock loaders the same seed gives other images
    with 1, 2 or 4 workers: MONAI's own transforms and :class:`RandTeacherAugment` alike. Here every random transform of
    the data set is seeded anew for each item: the same seed gives the same images in any number of workers, forked or
    spawned, and in a run that is resumed at an epoch.

    Args:
        dataset: a map-style data set with MONAI's random transforms, such as ``CacheDataset``.
        seed: of the run.

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
        # Shared memory: workers that outlive an epoch see the next one, too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._random = list(_random_parts(dataset, set()))

    def attach(self, engine: Engine) -> None:
        """Choose the engine's epoch at the beginning of each."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._follow)

    def _follow(self, engine: Engine) -> None:
        self.set_epoch(engine.state.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, before a pass over the loader begins."""
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
    """Yield the random transforms that a data set holds; a composition seeds its own parts."""
    if id(owner) in seen or isinstance(owner, Tensor):
        return
    seen.add(id(owner))
    if isinstance(owner, Randomizable):
        yield owner
        # MONAI's ready-made data sets are random themselves and hold random transforms besides.
        if not isinstance(owner, Dataset):
            return
    for part in owner if isinstance(owner, list | tuple) else getattr(owner, "__dict__", {}).values():
        yield from _random_parts(part, seen)
