# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of synthetic images as files, beside these."""

from __future__ import annotations

import gzip
import io
from typing import Any

import nibabel as nib
import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.utils.type_conversion import convert_to_tensor
from PIL import Image
from torch import Tensor

__all__ = ["encode_mask"]


def encode_mask(mask: Tensor, image: Tensor) -> bytes:
    """Return a mask as a grey PNG of 8 bits, or as compressed NIfTI; the same mask gives the same bytes.

    Args:
        mask: class indices from 0 to 255, ``(1, H, W)`` or ``(1, D, H, W)``.
        image: that the mask belongs to; a volume's mask gets the affine of a MetaTensor.
    """
    classes = convert_to_tensor(mask, track_meta=False)[0].numpy().astype(np.uint8)
    if classes.ndim == 2:
        buffer = io.BytesIO()
        Image.fromarray(classes).save(buffer, "PNG")
        return buffer.getvalue()
    affine = image.affine.numpy() if isinstance(image, MetaTensor) else np.eye(4)
    volume: Any = nib.Nifti1Image(classes, affine)  # type: ignore[no-untyped-call]
    volume.header.set_xyzt_units("mm")
    # without the time, which would differ from run to run
    return gzip.compress(volume.to_bytes(), compresslevel=6, mtime=0)
