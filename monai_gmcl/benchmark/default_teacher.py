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

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["policy_teacher"]


def policy_teacher(options: DataOptions) -> PolicyTeacher:
    """Return the default teacher; where the centre makes the label, it may not move or zoom."""
    exclude = ("shift", "zoom") if options.centered else ()
    return PolicyTeacher(options.spatial_dims, options.channels, options.classes, exclude=exclude)
