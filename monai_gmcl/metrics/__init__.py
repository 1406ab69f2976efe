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

from monai_gmcl.metrics.diversity import diversity, diversity_kept, teacher_diversity
from monai_gmcl.metrics.label_leak import LabelLeak, label_leak
from monai_gmcl.metrics.memorization import Memorization, memorization, small_pixels
from monai_gmcl.metrics.operation_effects import OperationEffects, operation_effects, prediction_error

__all__ = [
    "LabelLeak",
    "Memorization",
    "OperationEffects",
    "diversity",
    "diversity_kept",
    "label_leak",
    "memorization",
    "operation_effects",
    "prediction_error",
    "small_pixels",
    "teacher_diversity",
]
