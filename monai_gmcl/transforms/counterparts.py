# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's random transforms that correspond to the operations of a policy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_gmcl.teachers.policy import PolicyTeacher

__all__ = ["counterparts", "harmful_counterparts", "operations_of"]

COUNTERPARTS: dict[str, tuple[str, ...]] = {
    "CutMix": ("erasing",),
    "CutOut": ("erasing",),
    "Rand2DElastic": ("elastic",),
    "Rand3DElastic": ("elastic",),
    "RandAdjustContrast": ("gamma",),
    "RandAffine": (),
    "RandAxisFlip": ("flip",),
    "RandBiasField": ("brightness",),
    "RandCoarseDropout": ("erasing",),
    "RandCoarseShuffle": ("erasing",),
    "RandCropByLabelClasses": ("shift",),
    "RandCropByPosNegLabel": ("shift",),
    "RandFlip": ("flip",),
    "RandGaussianNoise": ("noise",),
    "RandGaussianSharpen": ("blur",),
    "RandGaussianSmooth": ("blur",),
    "RandGibbsNoise": ("blur", "noise"),
    "RandGridDistortion": ("elastic",),
    "RandHistogramShift": ("gamma", "contrast", "brightness"),
    "RandIntensityRemap": ("gamma", "contrast", "brightness"),
    "RandKSpaceSpikeNoise": ("noise",),
    "RandRicianNoise": ("noise",),
    "RandRotate": ("rotation",),
    "RandRotate90": ("quarter_turn",),
    "RandScaleCrop": (),
    "RandScaleIntensity": ("brightness",),
    "RandScaleIntensityFixedMean": ("contrast",),
    "RandShiftIntensity": ("brightness",),
    "RandSimulateLowResolution": ("blur",),
    "RandSmoothDeform": ("elastic",),
    "RandSmoothFieldAdjustContrast": ("gamma",),
    "RandSmoothFieldAdjustIntensity": ("brightness",),
    "RandSpatialCrop": (),
    "RandSpatialCropSamples": (),
    "RandStdShiftIntensity": ("brightness",),
    "RandWeightedCrop": ("shift",),
    "RandZoom": ("zoom",),
}
"""Operations by class name without the suffix ``d``; some classes have further ones by settings
(:func:`operations_of`)."""
OF_AFFINE = {"rotate_range": "rotation", "shear_range": "shear", "translate_range": "shift", "scale_range": "zoom"}
OF_CROP = {"random_center": "shift", "random_size": "zoom"}
DOES = {
    "flip": "flips",
    "quarter_turn": "turns",
    "rotation": "rotates",
    "zoom": "zooms",
    "shear": "shears",
    "shift": "shifts",
    "elastic": "warps",
    "gamma": "changes the gamma of",
    "contrast": "changes the contrast of",
    "brightness": "changes the brightness of",
    "channel_gain": "changes the channel gain of",
    "saturation": "changes the saturation of",
    "blur": "changes the sharpness of",
    "noise": "adds noise to",
    "erasing": "erases parts of",
}


def harmful_counterparts(loader: Any, turned_down: Collection[str]) -> list[str]:
    """Return messages about random transforms of real images that apply operations that a policy has turned down."""
    found = [(name, operation) for name, does in counterparts(loader) for operation in does if operation in turned_down]
    return [
        f"The teacher turned down {operation}, but the transform {name} {DOES[operation]} the real images. Remove "
        f"{name}."
        for name, operation in dict.fromkeys(found)
    ]


def counterparts(owner: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Return class name and operations of each random transform of a loader or data set, including nested ones.

    Nested data sets, compositions (``Compose``, ``OneOf``, ``SomeOf``, ``RandomOrder``) and sequences are searched.
    Known transforms are MONAI's own, their subclasses, and teachers as augmentation; other random transforms are
    ignored. A transform with probability 0 has no operations.
    """
    return [(type(part).__name__, done) for part in _parts(owner, set()) if (done := operations_of(part))]


def operations_of(transform: Any) -> tuple[str, ...]:
    """Return the names of the operations that a transform applies at random; none for an unknown transform."""
    name, inner = _known(transform)
    if name is None or getattr(transform, "prob", 1) == 0:
        return ()
    if name == "RandTeacherAugment":
        policy = inner.teacher.module
        return (
            tuple(n for n in policy.policy() if n not in policy.turned_down)
            if isinstance(policy, PolicyTeacher)
            else ()
        )
    done = list(COUNTERPARTS[name])
    grid = getattr(inner, "rand_affine_grid", None)
    done += [operation for setting, operation in OF_AFFINE.items() if _is_a_range(getattr(grid, setting, None))]
    if name in ("RandSpatialCrop", "RandScaleCrop", "RandSpatialCropSamples"):
        cropper = getattr(inner, "cropper", inner)
        done += [operation for setting, operation in OF_CROP.items() if getattr(cropper, setting)]
    if getattr(inner, "channel_wise", False) and done == ["brightness"]:
        done.append("channel_gain")
    return tuple(done)


def _known(transform: Any) -> tuple[str | None, Any]:
    """Return the known class name of a transform, and its array version, which has the settings."""
    for base in type(transform).__mro__:
        for name in (base.__name__, base.__name__.removesuffix("d")):
            if name in COUNTERPARTS or name == "RandTeacherAugment":
                for part in vars(transform).values():
                    if any(kind.__name__ == name for kind in type(part).__mro__):
                        return name, part
                return name, transform
    return None, transform


def _parts(owner: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the known transforms; the parts of a known transform are not searched."""
    if id(owner) in seen or isinstance(owner, Tensor | np.ndarray | nn.Module | str | bytes):
        return
    seen.add(id(owner))
    if _known(owner)[0] is not None:
        yield owner
        return
    held: Any = getattr(owner, "__dict__", {}).values()
    if isinstance(owner, DataLoader):
        held = [owner.dataset, owner.collate_fn]
    elif isinstance(owner, Mapping):
        held = owner.values()
    elif isinstance(owner, list | tuple):
        held = owner
    for part in held:
        yield from _parts(part, seen)


def _is_a_range(setting: Any) -> bool:
    """Whether a range of MONAI's affine transforms is not constant: one number (+-) or two numbers for each axis."""
    if setting is None:
        return False
    axes = setting if isinstance(setting, list | tuple) else [setting]
    return any(axis is not None and bool(np.any(np.asarray(axis, dtype=float) != 0)) for axis in axes)
