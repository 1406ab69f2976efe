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

from collections.abc import Iterator

import pytest
from monai.data import set_track_meta


@pytest.fixture(autouse=True)
def meta_data_of_other_tests() -> Iterator[None]:
    """Benchmarks switch MONAI's meta data off for their process, which here is that of other tests too."""
    yield
    set_track_meta(True)
