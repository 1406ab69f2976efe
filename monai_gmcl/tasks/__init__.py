# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tasks, which define the meaning of labels for the loss, the student's outputs, the teacher and class counts.

The trainer determines the :class:`Task` on the first batch (:func:`choose_task`), unless the user passes one.
"""

from __future__ import annotations

from monai_gmcl.tasks.base import SUPPORTED_TASKS, Task
from monai_gmcl.tasks.choice import choose_task
from monai_gmcl.tasks.segmentation import Segmentation
from monai_gmcl.tasks.whole_images import Classification, MultiLabel

__all__ = ["SUPPORTED_TASKS", "Classification", "MultiLabel", "Segmentation", "Task", "choose_task"]
