# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How lessons weigh images of which it is known whether they are right."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_gmcl.lesson import Lesson
from monai_gmcl.metrics.classification import mean_auc

__all__ = ["WeightsByMark"]


class WeightsByMark:
    """Keeps how lessons weighed images of which it is known what is right or wrong with them, by their pixels."""

    def __init__(self) -> None:
        self._marks: dict[bytes, int] = {}
        self.seen: list[tuple[Tensor, Tensor]] = []

    def know(self, images: Tensor, marks: Tensor) -> None:
        """Take in the marks of images, from 0, as a loader gave them: those that lessons are made from."""
        self._marks.update(zip(map(_pixels, images), marks.tolist(), strict=True))

    def observe(self, lesson: Lesson) -> None:
        """Take in the weights of a lesson."""
        assert lesson.sources is not None and lesson.weights is not None
        marks = [self._marks.get(_pixels(source), -1) for source in lesson.sources]
        known = torch.tensor(marks) >= 0
        self.seen.append((torch.tensor(marks)[known], lesson.weights.cpu()[known].clone()))

    def told_apart(self, right: int = 1) -> float:
        """AUC of the weight as a score of what is right, over all lessons after the first quarter; ``right``: mark."""
        marks, weights = self._later()
        if (marks == right).all() or (marks != right).all():
            return float("nan")
        return mean_auc(torch.stack([-weights, weights], 1), (marks == right).long())

    def mean(self, mark: int) -> float:
        """Mean weight of the images with a mark, over the same lessons; NaN without one."""
        marks, weights = self._later()
        return weights[marks == mark].mean().item()

    def _later(self) -> tuple[Tensor, Tensor]:
        marks, weights = zip(*self.seen[len(self.seen) // 4 :], strict=True)
        return torch.cat(marks), torch.cat(weights)


def _pixels(image: Tensor) -> bytes:
    return bytes(image.detach().cpu().contiguous().numpy().tobytes())
