# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Meta data of synthetic images."""

from __future__ import annotations

from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import TraceKeys
from torch import Tensor

__all__ = ["GEOMETRY", "mixed_batch", "synthetic_image"]

GEOMETRY = ("affine", "space")
"""Meta data of a source that its synthetic image keeps. All other meta data, such as names and headers, are removed."""


def synthetic_image(
    image: Tensor, source: MetaTensor | None, teacher: str, label: Tensor | None, seed: int, difficulty: float
) -> MetaTensor:
    """Return a synthetic image ``(C, *spatial)`` with its own meta data of plain values and tensors.

    The geometry is that of the source; for an image from latents alone, ``source`` is None.
    """
    meta: dict[str, Any] = {
        "synthetic": True,
        "teacher": teacher,
        "seed": seed,
        "difficulty": difficulty,
        "geometry_of_source": source is not None,
        # MONAI would use an enumeration here, which plain checkpoints cannot contain.
        "space": "RAS",
    }
    if label is not None:
        meta["label"] = label[0].tolist()
    if source is not None:
        for key in GEOMETRY:
            if key in source.meta:
                value = source.meta[key]
                meta[key] = str(value) if key == "space" else torch.as_tensor(value).clone()
    return MetaTensor(image, meta=meta)


def mixed_batch(
    images: Tensor,
    source: MetaTensor,
    rows: Tensor,
    synthetic: Tensor,
    keep_geometry: bool,
    teacher: str,
    labels: Tensor | None,
    seed: int,
    difficulty: float,
) -> MetaTensor:
    """Return a batch of real and synthetic images ``(N, C, *spatial)`` with meta data: geometry and origin.

    ``rows`` ``(N,)`` is the index in the source batch of each image or of its source, and ``synthetic`` ``(N,)`` is
    whether the image is synthetic. ``seed`` and ``difficulty`` are those of synthetic images; a real image gets -1 and
    0.
    """
    flags = synthetic.tolist()
    meta: dict[str, Any] = {
        "synthetic": synthetic,
        "geometry_of_source": synthetic & keep_geometry,
        "teacher": [teacher if flag else "" for flag in flags],
        "seed": torch.where(synthetic, seed, -1),
        "difficulty": torch.where(synthetic, difficulty, 0.0),
    }
    if labels is not None:
        meta["label"] = labels.cpu().clone()
    # If synthetic images have no geometry, the batch has only an affine, which MetaTensor requires.
    for key in GEOMETRY if keep_geometry else GEOMETRY[:1]:
        if key in source.meta:
            meta[key] = _choose(source.meta[key], rows.tolist()) if source.is_batch else [source.meta[key]] * len(rows)
    affine = torch.stack([torch.as_tensor(one, dtype=torch.float64) for one in meta["affine"]])
    meta["affine"] = (
        affine if keep_geometry else torch.where(synthetic[:, None, None], torch.eye(len(affine[0])).to(affine), affine)
    )
    meta["space"] = [str(space) for space in meta.get("space", ["RAS"] * len(rows))]
    batch = MetaTensor(images, meta=meta)
    batch.is_batch = True
    batch.spatial_ndim = source.spatial_ndim
    operations = source.applied_operations if source.is_batch else [TraceKeys.NONE] * len(source)
    batch.applied_operations = [
        TraceKeys.NONE if flag else operations[row] for flag, row in zip(flags, rows.tolist(), strict=True)
    ]
    return batch


def _choose(values: Any, rows: list[int]) -> Any:
    return values[rows] if isinstance(values, Tensor) else [values[row] for row in rows]
