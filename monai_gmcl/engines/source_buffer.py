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
        for image, label, drawer in zip(images.detach().cpu(), labels.detach().cpu(), classes, strict=True):
            # Clones: a view would keep its whole batch alive.
            kept = self._drawers.setdefault(drawer, deque(maxlen=self.size))
            kept.append((image.clone(), label.clone()))

    @property
    def classes(self) -> list[int]:
        """Classes seen so far, sorted."""
        return sorted(self._drawers)

    def draw(self, classes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw one image of each wanted class, with replacement.

        Args:
            classes: ``(n,)``, each of :attr:`classes`.
            generator: source of the random numbers.

        Returns:
            Images ``(n, C, ...)`` and their labels.
        """
        numbers = torch.rand(len(classes), generator=generator)
        chosen = []
        for drawer, number in zip(classes.tolist(), numbers.tolist(), strict=True):
            kept = self._drawers[drawer]
            chosen.append(kept[int(number * len(kept))])
        images, labels = zip(*chosen, strict=True)
        return torch.stack(images), torch.stack(labels)

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
    if labels.is_floating_point() and labels[0].numel() > 1:
        return [0] * len(labels)
    return [int(value) for value in labels.flatten().round().tolist()]
