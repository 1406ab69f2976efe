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

import pytest

from monai_gmcl.data.part_names import part_name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("train", "training"), ("Training", "training"), ("TRAIN", "training"), ("train_set", "training")),
        *(("val", "validation"), ("Valid", "validation"), ("validation", "validation"), ("Dev", "validation")),
        *(("test", "test"), ("Testing", "test"), ("test-images", "test"), (" Test set ", "test")),
        *(("trained", None), ("fold_0", None), ("", None), ("set", None), ("numTraining", None), ("masks", None)),
    ],
)
def test_parts_have_usual_names_in_small_or_capital_letters(name: str, part: str | None) -> None:
    assert part_name(name) == part
