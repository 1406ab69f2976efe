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

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.curriculum import ClassSampler
from monai_gmcl.engines.source_buffer import SourceBuffer
from monai_gmcl.engines.unlabeled_sources import UnlabeledSources

__all__ = ["LessonSources"]


class LessonSources:
    """What lessons are made from: the latest real images of each class and, where there are any, unlabeled ones.

    Args:
        buffer: the latest real images.
        unlabeled: images with proposed labels.
        device: where lessons live.
    """

    def __init__(self, buffer: SourceBuffer, unlabeled: UnlabeledSources | None, device: torch.device) -> None:
        self.buffer = buffer
        self.unlabeled = unlabeled
        self.device = device

    def draw(
        self, n: int, class_sampler: ClassSampler, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Draw ``n`` real images, and join the next unlabeled ones to them.

        Returns:
            Images ``(n + U, C, ...)``, their labels and how sure those are, 0 to 1 ``(n + U,)``; None where all labels
            were given.
        """
        classes = class_sampler.draw(n, self.buffer.classes, generator)
        images, labels = self.buffer.draw(classes, generator, self.device)
        if self.unlabeled is None:
            return images, labels, None
        others, proposals, confidence = self.unlabeled.draw(labels)
        return (
            torch.cat([images, others]),
            torch.cat([labels, proposals]),
            torch.cat([torch.ones(n, device=self.device), confidence]),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer, and the place in the unlabeled images."""
        unlabeled = None if self.unlabeled is None else self.unlabeled.state_dict()
        return {"buffer": self.buffer.state_dict(), "unlabeled": unlabeled}

    def load_state_dict(self, state: Mapping[str, Any], seed: int, alone: bool = True) -> None:
        """Put back what was saved; of several ranks, each fills its own buffer anew."""
        if alone:
            self.buffer.load_state_dict(state["buffer"])
        if self.unlabeled is not None and state["unlabeled"] is not None:
            self.unlabeled.load_state_dict(state["unlabeled"], seed)
