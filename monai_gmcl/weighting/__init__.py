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

from monai_gmcl.weighting.base import LessonWeighting
from monai_gmcl.weighting.confidence import ConfidenceWeighting
from monai_gmcl.weighting.look_ahead import LookAheadWeighting
from monai_gmcl.weighting.pseudo_labels import PseudoLabeler
from monai_gmcl.weighting.uniform import UniformWeighting

__all__ = ["ConfidenceWeighting", "LessonWeighting", "LookAheadWeighting", "PseudoLabeler", "UniformWeighting"]
