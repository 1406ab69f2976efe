# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["policy_teacher"]


def policy_teacher(options: DataOptions) -> PolicyTeacher:
    """Return the default teacher, told of the images what the standard transforms are told.

    Where the center makes the label, it may not move or zoom.
    """
    exclude = ("shift", "zoom") if options.centered else ()
    return PolicyTeacher(
        options.spatial_dims, options.channels, options.classes, exclude=exclude, upright=options.upright
    )
