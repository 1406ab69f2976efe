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
from pathlib import Path

import numpy as np
import pytest
from monai.data import set_track_meta
from PIL import Image


@pytest.fixture(autouse=True)
def meta_data_of_other_tests() -> Iterator[None]:
    """Benchmarks switch MONAI's meta data off for their process, which here is that of other tests too."""
    yield
    set_track_meta(True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes, dark and light, of 16 x 16 grey images, each one of its own."""
    root = tmp_path_factory.mktemp("data") / "shades"
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("valid", 12), ("test", 10)):
        for level, name in ((100, "dark"), (130, "light")):
            place = root / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = generator.normal(level, 40, (16, 16)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return root
