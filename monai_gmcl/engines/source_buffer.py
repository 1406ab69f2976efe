# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

__all__ = ["SourceBuffer"]


class SourceBuffer:
    """The latest real images of each class, from which lessons are made.

    Kept on the CPU. Rare classes can so be drawn more often than they come. Multi-label images share one drawer.

    Args:
        size: how many images to keep for each class.
    """

    def __init__(self, size: int = 16) -> None:
        self.size = size
        self._drawers: dict[int, deque[tuple[Tensor, Tensor]]] = {}

    def add(self, images: Tensor, labels: Tensor) -> None:
        """Keep real images ``(B, C, ...)`` with their labels, the oldest of each class give way."""
        classes = drawers_of(labels)
        latest: dict[int, deque[int]] = {}
        for place, drawer in enumerate(classes):
            latest.setdefault(drawer, deque(maxlen=self.size)).append(place)
        # Of a large batch on a GPU, only what is kept comes to the CPU.
        places = [place for kept in latest.values() for place in kept]
        some = torch.tensor(places, device=images.device)
        for place, image, label in zip(places, images.detach()[some].cpu(), labels.detach()[some].cpu(), strict=True):
            # Clones: a view would keep its whole batch alive.
            kept = self._drawers.setdefault(classes[place], deque(maxlen=self.size))
            kept.append((image.clone(), label.clone()))

    @property
    def classes(self) -> list[int]:
        """Classes seen so far, sorted."""
        return sorted(self._drawers)

    def draw(self, classes: Tensor, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw one image of each wanted class, with replacement.

        Args:
            classes: ``(n,)``, each of :attr:`classes`.
            generator: source of the random numbers.
            device: where the images are wanted.

        Returns:
            Images ``(n, C, ...)`` and their labels.
        """
        numbers = torch.rand(len(classes), generator=generator)
        chosen = []
        for drawer, number in zip(classes.tolist(), numbers.tolist(), strict=True):
            chosen.append((drawer, int(number * len(self._drawers[drawer]))))
        # Each goes to the device once, however often it was drawn.
        places = {one: i for i, one in enumerate(dict.fromkeys(chosen))}
        images, labels = zip(*(self._drawers[drawer][i] for drawer, i in places), strict=True)
        index = torch.tensor([places[one] for one in chosen], device=device)
        return torch.stack(images).to(device)[index], torch.stack(labels).to(device)[index]

    def state_dict(self) -> dict[str, Any]:
        """Return all images and labels, by class."""
        return {
            "drawers": {
                drawer: {"images": torch.stack([i for i, _ in kept]), "labels": torch.stack([y for _, y in kept])}
                for drawer, kept in self._drawers.items()
            }
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what was saved."""
        self._drawers = {
            drawer: deque(zip(kept["images"].unbind(), kept["labels"].unbind(), strict=True), maxlen=self.size)
            for drawer, kept in state["drawers"].items()
        }


def drawers_of(labels: Tensor) -> list[int]:
    """Return the class of each label; multi-label rows all count as class 0."""
    if are_several(labels):
        return [0] * len(labels)
    return [int(value) for value in labels.flatten().round().tolist()]


def are_several(labels: Tensor) -> bool:
    """Whether an image has several labels, float ``(n, K)`` with K > 1, instead of a class."""
    return labels.is_floating_point() and labels[0].numel() > 1
