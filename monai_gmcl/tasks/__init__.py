# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tasks: what labels mean for the loss, the student's outputs, the teacher and the counting of classes.

The trainer chooses a :class:`Task` on the first batch (:func:`choose_task`), or takes the one that it was given.
"""

from __future__ import annotations

from monai_gmcl.tasks.base import SUPPORTED_TASKS, Task
from monai_gmcl.tasks.choice import choose_task
from monai_gmcl.tasks.segmentation import Segmentation
from monai_gmcl.tasks.whole_images import Classification, MultiLabel

__all__ = ["SUPPORTED_TASKS", "Classification", "MultiLabel", "Segmentation", "Task", "choose_task"]
