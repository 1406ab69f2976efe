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

import torch
from monai.transforms.intensity.array import RandScaleIntensity

from monai_gmcl.benchmark.augmented_images import AugmentedImages

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def images_of(seed: int) -> AugmentedImages:
    return AugmentedImages(IMAGES, RandScaleIntensity(factors=0.5, prob=1.0), seed, torch.arange(6), torch.ones(6))


def test_an_image_comes_changed_and_with_what_is_known_of_it() -> None:
    image, label, mark = images_of(0)[4]
    assert len(images_of(0)) == 6
    assert image.shape == (3, 8, 8) and not torch.equal(image, IMAGES[4])
    assert (label, mark) == (4, 1)


def test_an_image_is_changed_anew_whenever_it_is_read() -> None:
    images = images_of(0)
    assert not torch.equal(images[4][0], images[4][0])


def test_the_seed_decides_the_changes() -> None:
    assert torch.equal(images_of(1)[2][0], images_of(1)[2][0])
    assert not torch.equal(images_of(1)[2][0], images_of(2)[2][0])
