# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The student's accuracy on real images and on lessons, which the curriculum observes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from monai_gmcl.curriculum import Curriculum
from monai_gmcl.engines.batches import RealBatch
from monai_gmcl.late_reading import LateReading
from monai_gmcl.lesson import Lesson
from monai_gmcl.ranks import Ranks
from monai_gmcl.tasks import Task

__all__ = ["StudentAccuracy"]


class StudentAccuracy:
    """The student's accuracy, passed to the curriculum and its class sampler when the device is read."""

    def __init__(self, curriculum: Callable[[], Curriculum], ranks: Ranks, late: LateReading) -> None:
        self.curriculum = curriculum
        self.ranks = ranks
        self.late = late
        self._reported: dict[str, float | Tensor | None] = {}
        self._real: float | None = None
        late.observers |= {"real": self._hear_real, "lesson": self._hear_lesson}

    def see_real(self, real: RealBatch, task: Task, outputs: Tensor) -> int:
        """Record the class and the correctness of each real image; return the number of images of all ranks."""
        classes, by_class, correct = task.answers(outputs, real.labels)
        on_host = classes if classes.device.type == "cpu" else task.classes_of(real.labels_on_host, outputs.shape[1:])
        real.classes = on_host.tolist()
        seen = self.ranks.all_gather(torch.cat([classes.to(correct), by_class, correct[:, None]], 1))
        self.late.observe("real", seen)
        if not self.late.is_at_once:
            classes, _, correct = _split(seen)
            self._reported = {"real_accuracy": _mean_on_device(correct, (classes >= 0).any(1))}
        return len(seen)

    def see_lesson(self, lesson: Lesson, task: Task) -> int:
        """Record the correctness of each image of a lesson; return the number of images in the lessons of all ranks.

        Only images with given labels are included, because proposed labels are the student's own predictions.
        """
        correct = task.correctness(lesson.outputs, lesson.labels)
        given = (torch.arange(len(lesson), device=correct.device) < lesson.num_labeled).to(correct)
        seen = self.ranks.all_gather(torch.stack([given, correct], 1))
        self.late.observe("lesson", seen)
        if not self.late.is_at_once:
            self._reported["lesson_accuracy"] = _mean_on_device(seen[:, 1], seen[:, 0] > 0)
        return len(seen)

    def as_dict(self) -> dict[str, float | Tensor]:
        """Return both accuracies, 0 to 1. An accuracy without any image is left out.

        If the device is read late, accuracies are tensors on the device, and NaN without any image.
        """
        return {name: accuracy for name, accuracy in self._reported.items() if accuracy is not None}

    def _hear_real(self, seen: Tensor) -> None:
        classes, by_class, correct = _split(seen)
        self._real = _mean(correct, (classes >= 0).any(1))
        if self.late.is_at_once:
            self._reported = {"real_accuracy": self._real}
        known = (classes >= 0) & ~by_class.isnan()
        self.curriculum().class_sampler.observe(classes[known].int().tolist(), by_class[known].tolist())

    def _hear_lesson(self, seen: Tensor) -> None:
        accuracy = _mean(seen[:, 1], seen[:, 0] > 0)
        if self.late.is_at_once:
            self._reported["lesson_accuracy"] = accuracy
        if self._real is not None and accuracy is not None:
            self.curriculum().observe(self._real, accuracy)


def _split(seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return classes ``(n, m)``, correctness on each ``(n, m)``, and on the image ``(n,)``."""
    count = seen.shape[1] // 2
    return seen[:, :count], seen[:, count : 2 * count], seen[:, -1]


def _mean(correct: Tensor, of: Tensor) -> float | None:
    """Return the mean over the images ``(n,)`` with a known correctness; None if there is none."""
    known = correct[of & ~correct.isnan()]
    return float(known.mean()) if len(known) else None


def _mean_on_device(correct: Tensor, of: Tensor) -> Tensor:
    """Return the same as a number on the device; NaN if there is none."""
    known = of & ~correct.isnan()
    return torch.where(known, correct, 0).sum() / known.sum()
