# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

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
