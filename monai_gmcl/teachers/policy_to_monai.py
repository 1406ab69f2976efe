# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Export of a policy to MONAI's own transforms."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle.config_parser import ConfigParser
from monai.transforms.compose import Compose

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.operations import Operation
from monai_gmcl.teachers.operations.texture import Erasing

__all__ = ["MonaiPolicy", "policy_to_monai"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonaiPolicy:
    """A learned policy in MONAI's own random transforms, which run without monai_gmcl.

    Images go in and come out as those of the teacher: in its ``value_range``, or normalized by its mean and standard
    deviation. Each operation acts with the teacher's probability, in the teacher's order, uniformly within the learned
    range; flips and quarter turns with the probability that was learned. These, brightness, contrast, channel gain,
    noise, rotation in 2-D and shift are the teacher's; others differ:

    - zoom and gamma are uniform in the factor, not in its logarithm; zoom is rounded down to whole pixels of the size,
      and gamma is relative to each image's own range;
    - rotation in 3-D is by Euler angles, and shear one axis after the other: alike while they are small;
    - blur has its own standard deviation along each axis, and zeros beyond the borders;
    - the elastic warp is normal, not uniform, with the same standard deviation along the shortest axis; in 2-D,
      MONAI's splines besides displace points by up to a twentieth of the nodes' distance, the same for each image;
    - in 2-D each change of geometry resamples for itself, by cubic splines, which keeps images about as sharp;
    - erasing has hard edges, its own side along each axis and the middle of the range;
    - saturation has no counterpart and is left out.

    Attributes:
        config: a bundle's configuration: ``policy``, the transforms, and ``policy_description``: the learned ranges,
            what they are for, what was turned down and what is left out.
        left_out: names of the teacher's operations without a counterpart.

    Example::

        policy = teacher.to_monai((96, 96), keys="image")
        dataset = CacheDataset(data, Compose([LoadImaged("image"), policy.transform()]))
        policy.save("policy.json")
        # python -m monai.bundle run --config_file "['train.json', 'policy.json']", with "@policy" among the
        # transforms of train.json
    """

    config: dict[str, Any]
    left_out: list[str]

    def transform(self) -> Compose:
        """Return the transforms, newly built from the configuration."""
        transform: Compose = ConfigParser({"policy": self.config["policy"]}).get_parsed_content("policy")
        return transform

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the configuration as JSON."""
        path = Path(path)
        write_whole(path, json.dumps(self.config, indent=4) + "\n")
        return path


def policy_to_monai(
    teacher: Teacher,
    strengths: Sequence[tuple[Operation, float]],
    probability: float,
    spatial_size: Sequence[int],
    keys: str | Sequence[str] | None,
    description: Mapping[str, Any],
) -> MonaiPolicy:
    """Express a teacher's ranges in MONAI's own random transforms; a warning names operations without a counterpart.

    Operations, in the teacher's order with their learned strengths, act with the probability given, on images of the
    ``spatial_size`` given (one for each dimension). Keys are those of transforms of dictionaries, None for transforms
    of single images. The description (``difficulty``, ``ranges``, ``turned_down``) goes into the bundle's
    configuration.
    """
    size = [int(side) for side in spatial_size]
    steps, left_out = [], []
    for operation, strength in strengths:
        config = operation.to_monai_config(strength, size)
        if config is None:
            left_out.append(operation.name)
            continue
        if isinstance(operation, Erasing):
            # MONAI's erases in place, the caller's image were it the first to act: this makes a copy.
            steps.append(_scale(0.0, 1.0, 0.0, 1.0))
        steps.append({"prob": probability, **config})
    if left_out:
        logger.warning("MONAI has no counterpart of %s. The exported policy does not include it.", ", ".join(left_out))
    steps = [*_to_unit_range(teacher), *steps, *_from_unit_range(teacher)]
    if keys is not None:
        names = [keys] if isinstance(keys, str) else list(keys)
        steps = [{**step, "_target_": f"{step['_target_']}d", "keys": names} for step in steps]
    own = {"teacher": type(teacher).__name__, "spatial_size": size, "value_range": list(teacher.value_range)}
    # Lazy: rotation, zoom, shear and shift are one resampling, as in the teacher. In 2-D, MONAI 1.6 fails at that where
    # one of them acts and another does not (it multiplies a 3 x 3 with a 4 x 4 matrix).
    policy = {"_target_": "monai.transforms.Compose", "transforms": steps, "lazy": teacher.spatial_dims == 3}
    return MonaiPolicy({"policy": policy, "policy_description": {**own, **description, "left_out": left_out}}, left_out)


def _to_unit_range(teacher: Teacher) -> list[dict[str, Any]]:
    """What brings the user's images to values from 0 to 1, in which MONAI's ranges are the teacher's."""
    (low, high), normalized = teacher.value_range, _normalization(teacher)
    steps = []
    if normalized is not None:
        mean, std = normalized
        steps.append(_normalize([-m / s for m, s in zip(mean, std, strict=True)], [1 / s for s in std]))
    if steps or (low, high) != (0, 1):
        steps.append(_scale(low, high, 0.0, 1.0))
    return steps


def _from_unit_range(teacher: Teacher) -> list[dict[str, Any]]:
    """What brings them back, within the teacher's range."""
    normalized = _normalization(teacher)
    return [_scale(0.0, 1.0, *teacher.value_range), *([] if normalized is None else [_normalize(*normalized)])]


def _normalization(teacher: Teacher) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of each channel by which the user's images are normalized, if they are."""
    mean, std = (value.flatten().expand(teacher.in_channels).tolist() for value in (teacher.mean, teacher.std))
    return None if set(mean) == {0.0} and set(std) == {1.0} else (mean, std)


def _normalize(mean: list[float], std: list[float]) -> dict[str, Any]:
    return {
        "_target_": "monai.transforms.NormalizeIntensity",
        "subtrahend": mean,
        "divisor": std,
        "channel_wise": True,
    }


def _scale(low: float, high: float, new_low: float, new_high: float) -> dict[str, Any]:
    ends = {"a_min": low, "a_max": high, "b_min": new_low, "b_max": new_high}
    return {"_target_": "monai.transforms.ScaleIntensityRange", **ends, "clip": True}
