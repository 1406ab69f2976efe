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
import torch
from monai.data import MetaTensor
from monai.utils.enums import SpaceKeys

from monai_gmcl.teachers import PolicyTeacher


@pytest.fixture
def teacher():
    return PolicyTeacher(2, 3, 4)


@pytest.fixture
def private_image():
    """An image as a reader makes it, with everything in its meta that must not travel on."""
    affine = torch.diag(torch.tensor([0.5, 0.7, 3.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([10.0, -4.0, 2.0])
    meta = {
        "filename_or_obj": "/clinic/doe_john_1956.nii.gz",
        "affine": affine,
        "original_affine": affine.numpy(),
        "spatial_shape": torch.tensor([24, 24, 1]),
        "space": SpaceKeys.LPS,
        "PatientID": "1956-doe",
        "slide_id": "1956-doe",
        "descrip": "doe john, ward 7",
        "original_channel_dim": 0,
    }
    image = MetaTensor(torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0)), meta=meta)
    image.applied_operations.append({"class": "Resized", "extra_info": {"file": "doe"}})
    return image
