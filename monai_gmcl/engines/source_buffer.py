# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.engines.extra_inputs import joined
from monai_gmcl.tasks import class_ids

__all__ = ["SourceBuffer"]

MOST_BYTES = 2**30
"""How much memory of the device sources may take."""


class SourceBuffer:
    """The latest real images of each class, from which lessons are made.

    Rare classes can so be drawn more often than they come. Multi-label images share one drawer. Images stay on the
    device they came on, and cost no copy, as long as all that may be kept takes 1 GiB at most; beyond it, and in a
    state, they are on the CPU.

    Args:
        size: how many images to keep for each class.
    """

    def __init__(self, size: int = 16) -> None:
        self.size = size
        self._drawers: dict[int, deque[tuple[Tensor, Tensor, tuple[Any, ...]]]] = {}

    def add(
        self, images: Tensor, labels: Tensor, classes: Sequence[int] | None = None, extra: Sequence[Any] = ()
    ) -> None:
        """Keep real images ``(B, C, ...)`` with their labels, the oldest of each class give way.

        Args:
            images: the batch.
            labels: of the batch.
            classes: the class of each image; one below 0 has none, and is not kept. Default: ``class_ids(labels)``.
            extra: what else belongs to each image, each a tensor ``(B, ...)`` or a list of length B.
        """
        classes = class_ids(labels) if classes is None else classes
        latest: dict[int, deque[int]] = {}
        for place, drawer in enumerate(classes):
            if drawer >= 0:
                latest.setdefault(drawer, deque(maxlen=self.size)).append(place)
        drawers = len(self._drawers.keys() | latest.keys())
        fits = drawers * self.size * images[0].numel() * images.element_size() <= MOST_BYTES
        keep = images.device if fits else torch.device("cpu")
        # Of a large batch, only what is kept is copied.
        places = [place for kept in latest.values() for place in kept]
        if not places:
            return
        own_images, own_labels = (_taken(values, places) for values in (images, labels))
        for place, image, label in zip(places, own_images.to(keep), own_labels.cpu(), strict=True):
            # Clones: a view would keep its whole batch alive.
            kept = self._drawers.setdefault(classes[place], deque(maxlen=self.size))
            kept.append((image.clone(), label.clone(), tuple(_own(values[place], keep) for values in extra)))

    @property
    def classes(self) -> list[int]:
        """Classes seen so far, sorted."""
        return sorted(self._drawers)

    def draw(
        self, classes: Tensor, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor, list[Any]]:
        """Draw one image of each wanted class, with replacement; all of one size.

        The first one's size is that of all. A class that has no image of that size gives way to the first one's.

        Args:
            classes: ``(n,)``, each of :attr:`classes`.
            generator: source of the random numbers.
            device: where the images are wanted.

        Returns:
            Images ``(n, C, ...)``, their labels, and what else belongs to each.
        """
        numbers = torch.rand(len(classes), generator=generator)
        chosen: list[tuple[int, int]] = []
        for drawer, number in zip(classes.tolist(), numbers.tolist(), strict=True):
            places = [(drawer, i) for i in range(len(self._drawers[drawer]))]
            if chosen:
                drawer, first = chosen[0]
                shape = self._drawers[drawer][first][0].shape
                places = [place for place in places if self._image(place).shape == shape] or [
                    (drawer, i) for i, one in enumerate(self._drawers[drawer]) if one[0].shape == shape
                ]
            chosen.append(places[int(number * len(places))])
        # Each goes to the device once, however often it was drawn.
        order = {one: i for i, one in enumerate(dict.fromkeys(chosen))}
        images, labels, extra = zip(*(self._drawers[drawer][i] for drawer, i in order), strict=True)
        places_in_order = [order[one] for one in chosen]
        found = [joined([extra[order[one]][k] for one in chosen], device) for k in range(len(extra[0]))]
        # After a load some may still be on the CPU.
        moved = torch.stack([image.to(device, non_blocking=True) for image in images])
        return _taken(moved, places_in_order), torch.stack(labels)[places_in_order].to(device, non_blocking=True), found

    def _image(self, place: tuple[int, int]) -> Tensor:
        drawer, i = place
        return self._drawers[drawer][i][0]

    def state_dict(self) -> dict[str, Any]:
        """Return all images and labels, by class, with what else belongs to them."""
        return {
            "drawers": {
                drawer: {name: _packed(of_all) for name, of_all in zip(KEPT, zip(*kept, strict=True), strict=True)}
                for drawer, kept in self._drawers.items()
            }
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what was saved."""
        self._drawers = {
            drawer: deque(zip(kept["images"], kept["labels"], kept["extra"], strict=True), maxlen=self.size)
            for drawer, kept in state["drawers"].items()
        }


KEPT = ("images", "labels", "extra")


def _packed(of_all: Sequence[Any]) -> Any:
    """Return tensors of one size as one, others as a list."""
    of_all = [one.cpu() if isinstance(one, Tensor) else one for one in of_all]
    one_size = isinstance(of_all[0], Tensor) and len({one.shape for one in of_all}) == 1
    return torch.stack(of_all) if one_size else of_all


def _taken(values: Tensor, places: Sequence[int]) -> Tensor:
    """Return these rows; the host does not wait until the device knows which."""
    return values.detach()[torch.tensor(places).to(values.device, non_blocking=True)]


def _own(value: Any, device: torch.device) -> Any:
    return value.detach().to(device).clone() if isinstance(value, Tensor) else value
