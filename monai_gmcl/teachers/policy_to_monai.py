# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy as text, and its export to MONAI's own transforms."""

from __future__ import annotations

import json
import logging
import math
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

    Inputs and outputs have the scale of the teacher's images: its ``value_range``, or normalized by its mean and
    standard deviation. Operations are applied in the teacher's order and with its probabilities; amounts are uniform
    within the learned range. Flips, quarter turns, brightness, contrast, channel gain, noise, rotation in 2-D and shift
    equal those of the teacher. Other operations differ:

    - zoom and gamma are uniform in the factor, not in its logarithm; zoom is rounded down to whole pixels of the size,
      and gamma is relative to each image's own range;
    - rotation in 3-D uses Euler angles, and shear is applied one axis after the other; for small amounts, both are
      similar;
    - blur has a separate standard deviation for each axis, and zero padding;
    - the elastic warp is normal, not uniform, with the same standard deviation along the shortest axis; in 2-D, MONAI's
        splines also displace points by up to a twentieth of the distance of nodes, in the same way for each image;
    - in 2-D, each geometric operation resamples separately, with cubic splines, which keeps images about as sharp;
    - erasing has hard edges, a separate side length for each axis, and fills with the middle of the value range;
    - saturation has no counterpart and is left out.

    Attributes:
        config: a bundle's configuration with ``policy`` (the transforms) and ``policy_description``: the difficulty,
            the learned ranges, the operations that were turned down, and the operations that are left out.
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
    """Export a teacher's ranges to MONAI's own random transforms; a warning names operations without a counterpart.

    The operations are in the teacher's order and have their learned strengths. ``spatial_size`` is the size of the
    images, one number for each dimension. ``keys`` are the keys of dictionary transforms; None gives array transforms.
    The description (``difficulty``, ``ranges``, ``turned_down``) is part of the configuration.
    """
    size = [int(side) for side in spatial_size]
    steps, left_out = [], []
    for operation, strength in strengths:
        config = operation.to_monai_config(strength, size)
        if config is None:
            left_out.append(operation.name)
            continue
        if isinstance(operation, Erasing):
            # MONAI's transform erases in place, which could change the caller's image: this makes a copy.
            steps.append(_scale(0.0, 1.0, 0.0, 1.0))
        steps.append({"prob": probability, **config})
    if left_out:
        logger.warning("MONAI has no counterpart of %s. The exported policy does not include it.", ", ".join(left_out))
    steps = [*_to_unit_range(teacher), *steps, *_from_unit_range(teacher)]
    if keys is not None:
        names = [keys] if isinstance(keys, str) else list(keys)
        steps = [{**step, "_target_": f"{step['_target_']}d", "keys": names} for step in steps]
    own = {"teacher": type(teacher).__name__, "spatial_size": size, "value_range": list(teacher.value_range)}
    # Lazy: rotation, zoom, shear and shift are one resampling, as in the teacher. In 2-D, this fails in MONAI 1.6 if
    # only # some of them are applied (it multiplies a 3 x 3 matrix by a 4 x 4 matrix).
    policy = {"_target_": "monai.transforms.Compose", "transforms": steps, "lazy": teacher.spatial_dims == 3}
    return MonaiPolicy({"policy": policy, "policy_description": {**own, **description, "left_out": left_out}}, left_out)


def _to_unit_range(teacher: Teacher) -> list[dict[str, Any]]:
    """Return transforms that map the user's images to [0, 1], the scale of the exported ranges."""
    (low, high), normalized = teacher.value_range, _normalization(teacher)
    steps = []
    if normalized is not None:
        mean, std = normalized
        steps.append(_normalize([-m / s for m, s in zip(mean, std, strict=True)], [1 / s for s in std]))
    if steps or (low, high) != (0, 1):
        steps.append(_scale(low, high, 0.0, 1.0))
    return steps


def _from_unit_range(teacher: Teacher) -> list[dict[str, Any]]:
    """Return transforms that map images back to the user's scale, within the teacher's range."""
    normalized = _normalization(teacher)
    return [_scale(0.0, 1.0, *teacher.value_range), *([] if normalized is None else [_normalize(*normalized)])]


def _normalization(teacher: Teacher) -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation of each channel if the user's images are normalized."""
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


def policy_text(policy: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the result of ``PolicyTeacher.policy``, with or without effects, as a text table."""
    with_effects = any("effect" in row for row in policy.values())
    heading = f"{'operation':<14}{'from':>9}{'to':>9}  {'unit':<12}{'probability':>11}{'share':>7}"
    lines = [heading + (f"{'effect':>9} ± {'s.e.':<7}" if with_effects else "")]
    for name, row in policy.items():
        low, high = (f"{row[end]:.3f}" for end in ("low", "high"))
        if row["unit"] == "probability":
            low = high = "–"
        line = f"{name:<14}{low:>9}{high:>9}  {row['unit']:<12}{row['probability']:>11.2f}{row['share']:>7.2f}"
        if with_effects:
            numbers = (("effect", "+.3f"), ("standard_error", ".3f"))
            effect, error = ("–" if math.isnan(row[key]) else f"{row[key]:{form}}" for key, form in numbers)
            line += f"{effect:>9} ± {error:<7}"
        lines.append(line + ("  turned down" if row["turned_down"] else ""))
    return "\n".join(line.rstrip() for line in lines)
