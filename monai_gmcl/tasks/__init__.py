# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What labels mean: to the loss, to the student's outputs, to teachers, and to those who count classes.

A :class:`Task` is one meaning. The trainer chooses it by the first batch (:func:`choose_task`), or is given one.
"""

from __future__ import annotations

from monai_gmcl.tasks.base import SUPPORTED_TASKS, Task
from monai_gmcl.tasks.choice import choose_task
from monai_gmcl.tasks.segmentation import Segmentation
from monai_gmcl.tasks.whole_images import Classification, MultiLabel

__all__ = ["SUPPORTED_TASKS", "Classification", "MultiLabel", "Segmentation", "Task", "choose_task"]
