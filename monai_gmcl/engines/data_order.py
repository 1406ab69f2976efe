# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from ignite.engine import Engine
from monai.data.utils import set_rnd
from torch.utils.data import RandomSampler

from monai_gmcl.exceptions import DataError

__all__ = ["EndlessBatches", "SeededPasses", "derive_seed"]

logger = logging.getLogger(__name__)


def derive_seed(*parts: int | str) -> int:
    """Return a seed from 0 to 2³² - 1 that depends on all parts, the same on every machine."""
    return random.Random("/".join(map(str, parts))).getrandbits(32)


def warn_of_persistent_workers(loader: Any, name: str) -> None:
    """Log where a resumed run could not repeat the random transforms."""
    if getattr(loader, "persistent_workers", False):
        logger.warning(
            "%s keeps its workers (persistent_workers=True), and with them the state of their random transforms: "
            "a run that is resumed after the first pass differs in them. Expected persistent_workers=False.",
            name,
        )


def seed_loader(loader: Any, seed: int) -> None:
    """Make the next pass over a loader depend on ``seed`` alone: order, transforms and workers."""
    torch.manual_seed(seed)
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, RandomSampler) and sampler.generator is None:
        # One that draws from the global generator does so sooner where workers fetch ahead.
        sampler.generator = torch.Generator()
    for owner in (loader, getattr(loader, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
    if getattr(loader, "num_workers", 0) == 0 and hasattr(loader, "dataset"):
        set_rnd(loader.dataset, seed=seed)


class SeededPasses:
    """The training batches, their order and random transforms derived from (seed, iteration at which a pass begins).

    A run that resumes in the middle of an epoch begins the same pass again and skips what it has seen. Workers that
    outlive a pass (``persistent_workers=True``) keep their random state, which cannot be repeated: that is logged.

    Args:
        loader: the user's loader; its attributes show through.
        engine: its ``state.iteration`` tells where a pass begins.
        seed: seed of the run.
    """

    def __init__(self, loader: Iterable[Any], engine: Engine, seed: int) -> None:
        warn_of_persistent_workers(loader, "train_data_loader")
        self.loader = loader
        self.engine = engine
        self.seed = seed
        self.began = 0
        self.resuming = False

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # Handlers ask whether engine.state.dataloader is a DataLoader.
        return type(self.loader)

    def __iter__(self) -> Iterator[Any]:
        iteration = self.engine.state.iteration
        skipped = iteration - self.began if self.resuming else 0
        self.began, self.resuming = iteration - skipped, False
        seed_loader(self.loader, derive_seed(self.seed, "pass", self.began))
        return self._after(iter(self.loader), skipped)

    def _after(self, batches: Iterator[Any], skipped: int) -> Iterator[Any]:
        for index in itertools.count():
            # Samplers and transforms that draw from torch's own generator do so here, whatever was drawn before.
            torch.manual_seed(derive_seed(self.seed, "batch", self.began + index))
            try:
                batch = next(batches)
            except StopIteration:
                break
            if index >= skipped:
                yield batch
        if index == 0:
            raise DataError("The training data loader gave no batch: expected at least one labeled image.")


class EndlessBatches:
    """Batches of a loader, pass after pass, resumable at any batch.

    Args:
        loader: a loader that can be iterated again and again.
        seed: seed of the order and the random transforms.
        name: how error messages call the loader.
    """

    def __init__(self, loader: Iterable[Any], seed: int, name: str) -> None:
        warn_of_persistent_workers(loader, name)
        self.loader = loader
        self.seed = seed
        self.name = name
        self.passes = 0
        self.position = 0
        self._batches: Iterator[Any] | None = None

    def __next__(self) -> Any:
        if self._batches is None:
            self._begin()
        assert self._batches is not None
        torch.manual_seed(derive_seed(self.seed, self.name, self.passes, self.position))
        batch = next(self._batches, None)
        if batch is None:
            if self.position == 0:
                raise DataError(f"{self.name} gave no batch: expected at least one.")
            self.passes, self.position, self._batches = self.passes + 1, 0, None
            return next(self)
        self.position += 1
        return batch

    def _begin(self) -> None:
        seed_loader(self.loader, derive_seed(self.seed, self.name, self.passes))
        self._batches = iter(self.loader)
        for position in range(self.position):
            torch.manual_seed(derive_seed(self.seed, self.name, self.passes, position))
            # Of several ranks' loaders one may be shorter than that of the first, whose place was saved.
            next(self._batches, None)

    def state_dict(self) -> dict[str, int]:
        """Return the place in the data."""
        return {"passes": self.passes, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a place in the data."""
        self.passes, self.position, self._batches = state["passes"], state["position"], None
