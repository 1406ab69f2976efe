# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from monai_gmcl.curriculum import ClassSampler
from monai_gmcl.engines.extra_inputs import ExtraInputs
from monai_gmcl.engines.real_batch import RealBatch
from monai_gmcl.engines.source_buffer import SourceBuffer
from monai_gmcl.engines.unlabeled_sources import UnlabeledSources
from monai_gmcl.exceptions import DataError
from monai_gmcl.tasks import Task

__all__ = ["LessonSources", "Sources"]


class Sources(NamedTuple):
    """What one lesson is made from.

    Attributes:
        images: ``(n + U, C, ...)``, real ones and unlabeled ones.
        labels: their labels.
        confidence: how sure those are, 0 to 1 ``(n + U,)``; None where all labels were given.
        args: the student's further arguments for these images.
        kwargs: its further keyword arguments.
    """

    images: Tensor
    labels: Tensor
    confidence: Tensor | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


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
        self.extra = ExtraInputs()

    def add(self, real: RealBatch) -> None:
        """Keep the images of a batch whose class is known, with the student's extra inputs for each."""
        extra = self.extra.split(real.args, real.kwargs, len(real.images))
        self.buffer.add(real.images, real.labels_on_host, real.classes, extra)

    def draw(self, n: int, class_sampler: ClassSampler, generator: torch.Generator, task: Task) -> Sources:
        """Draw ``n`` real images, and join the next unlabeled ones to them.

        Raises:
            DataError: unlabeled images of another size.
        """
        classes = class_sampler.draw(n, self.buffer.classes, generator)
        images, labels, extra = self.buffer.draw(classes, generator, self.device)
        if self.unlabeled is None:
            return Sources(images, labels, None, *self.extra.join(extra))
        batch, proposals, confidence = self.unlabeled.draw(labels, task)
        if batch.images.shape[1:] != images.shape[1:]:
            raise DataError(
                f"Expected unlabeled images shaped {tuple(images.shape[1:])} as the labeled ones of the same lesson, "
                f"got {tuple(batch.images.shape[1:])}. Resize both by the transforms."
            )
        theirs = self.extra.split(batch.args, batch.kwargs, len(batch.images))
        extra = [_both(one, other) for one, other in zip(extra, theirs, strict=True)]
        return Sources(
            torch.cat([images, batch.images]),
            torch.cat([labels, proposals]),
            torch.cat([torch.ones(n, device=self.device), confidence]),
            *self.extra.join(extra),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer, the form of extra inputs, and the place in the unlabeled images."""
        unlabeled = None if self.unlabeled is None else self.unlabeled.state_dict()
        return {"buffer": self.buffer.state_dict(), "extra": self.extra.state_dict(), "unlabeled": unlabeled}

    def load_state_dict(self, state: Mapping[str, Any], seed: int, alone: bool = True) -> None:
        """Put back what was saved; of several ranks, each fills its own buffer anew."""
        if alone:
            self.buffer.load_state_dict(state["buffer"])
            self.extra.load_state_dict(state["extra"])
        if self.unlabeled is not None and state["unlabeled"] is not None:
            self.unlabeled.load_state_dict(state["unlabeled"], seed)


def _both(one: Any, other: Any) -> Any:
    return torch.cat([one, other.to(one)]) if isinstance(one, Tensor) else [*one, *other]
