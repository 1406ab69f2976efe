# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Labeled synthetic images of a trained teacher, as files."""

from __future__ import annotations

from monai_gmcl.synthesis.out_folder import OutFolder
from monai_gmcl.synthesis.real_images import RealImages
from monai_gmcl.synthesis.synthetic_set import SyntheticSet

__all__ = ["OutFolder", "RealImages", "SyntheticSet"]
