# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from monai_gmcl.engines.checks import image_name
from monai_gmcl.exceptions import ImageRangeError
from monai_gmcl.teachers.base import Teacher

__all__ = ["RangeCheck"]

logger = logging.getLogger(__name__)

OVERSHOOT = 0.1
"""Share of the value range that noise and interpolation may go beyond it: a teacher cuts that off."""


class RangeCheck:
    """Looks at every batch that lessons are made from, whether it lies in the teacher's ``value_range``.

    Args:
        teacher: a plain module has no range, and is not asked.
    """

    def __init__(self, teacher: nn.Module) -> None:
        self.teacher = teacher
        self._said = False

    def __call__(self, images: Tensor, meta: Mapping[str, Any] | None = None) -> None:
        """Raise for images ``(B, C, ...)`` that are scaled otherwise; say once where some go a little beyond.

        Args:
            images: the batch.
            meta: what MONAI knows about it; names the file.

        Raises:
            ImageRangeError: an image is further outside than a tenth of the range.
        """
        teacher = self.teacher
        if not isinstance(teacher, Teacher):
            return
        low, high = teacher.value_range
        beyond = self._beyond(teacher, images)
        if beyond > OVERSHOOT * (high - low):
            index = max(range(len(images)), key=lambda i: self._beyond(teacher, images[i : i + 1]))
            try:
                teacher.check_range(images[index : index + 1])
            except ImageRangeError as error:
                raise ImageRangeError(f"Image {index} of a batch{image_name(index, meta)}: {error}") from None
        elif not self._said and beyond > 0.01 * (high - low):
            self._said = True
            logger.warning(
                "Images go beyond the teacher's value_range, %g to %g, by %.2g: lessons cut that off. Noise and "
                "interpolation do so; where it is the images themselves, scale them or give the teacher another "
                "value_range.",
                low,
                high,
                beyond,
            )

    @staticmethod
    def _beyond(teacher: Teacher, images: Tensor) -> float:
        low, high = teacher.value_range
        least, most = teacher.extremes(images)
        return max(low - least, most - high)
