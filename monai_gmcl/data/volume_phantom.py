# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom in 3-D: volumes with a lesion in four shapes, stored with the geometries of several scanners."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.transforms.utils import create_rotate
from numpy.typing import NDArray

from monai_gmcl.data.drawn_folder import draw_classes, draw_once
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["LESION_SHAPES", "drawn_volume", "make_volume_phantom", "phantom_volume", "phantom_volume_with_mask"]

Array = NDArray[np.float64]
NIBABEL: Any = nibabel
"""Has no types."""

LESION_SHAPES = ("0_ball", "1_shell", "2_cross", "3_pair")
"""Class folders, by the shape of the one lesion in a volume."""
VOLUMES_PER_CLASS: Mapping[str, int] = {"train": 20, "valid": 20, "test": 40}
VERSION = 1
"""Version of the drawing; increased if the same seed gives other volumes."""
EXTENT = 48.0
"""Side length of a volume in millimeters."""
SPACINGS = (1.5, 2.0, 3.0)
"""Range of the voxel spacing in millimeters, drawn for each axis; volumes have 16 to 32 voxels per side."""
AXES = ("RAS", "LPS", "LAS", "SRA", "PIR", "ALI")


def make_volume_phantom(folder: str | Path, volumes_per_class: Mapping[str, int] | None = None, seed: int = 0) -> Path:
    """Draw a data set of NIfTI volumes, or use the existing one.

    The four classes are the shapes of a bright lesion in gray tissue with vessels and noise, drawn by
    :func:`phantom_volume`. Like files of several scanners, the volumes differ in voxel spacing, order and direction of
    the axes, origin and tilt. A volume depends only on (seed, split, class, index).

    Args:
        folder: folder of the files ``<split>/<class>/<index>.nii.gz`` and ``volume_phantom.json`` (parameters).
        volumes_per_class: number of volumes of each class, by split. Default: 20 for training, 20 for validation, 40
            for test.
        seed: seed of all volumes, at least 0.

    Returns:
        The folder.

    Raises:
        ConfigurationError: no volumes, or a negative seed.
        DataError: the folder contains something else, or a phantom with other parameters.
    """
    counts = dict(VOLUMES_PER_CLASS if volumes_per_class is None else volumes_per_class)
    if seed < 0 or not counts or min(counts.values()) < 1:
        raise ConfigurationError(
            f"Expected seed >= 0 and at least one volume per class and split, got seed {seed} and {counts}."
        )
    folder = Path(folder)
    parameters = {"version": VERSION, "volumes_per_class": counts, "seed": seed}
    draw = partial(draw_classes, counts=counts, names=LESION_SHAPES, seed=seed, draw=_draw)
    draw_once(folder, "volume_phantom.json", "volume phantom", parameters, draw)
    return folder


def _draw(shape: int, generator: np.random.Generator, path: Path) -> None:
    NIBABEL.save(drawn_volume(shape, generator)[0], f"{path}.nii.gz")


def drawn_volume(shape: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """Draw a volume with a random scanner geometry, and the mask of its lesion with the same geometry.

    The shape is an index of :data:`LESION_SHAPES`. Voxel spacing, and order and direction of the axes, are random. The
    results are NIfTI images: the volume, int16, about 0 to 1,200; the mask, uint8, 1 in the lesion and 0 elsewhere.
    """
    spacing = generator.choice(SPACINGS, 3)
    values, lesion = phantom_volume_with_mask(shape, generator, tuple(spacing))
    affine, turn = _geometry(spacing, generator)
    image, mask = (NIBABEL.Nifti1Image(array, affine).as_reoriented(turn) for array in (values, lesion))
    return image, mask


def phantom_volume(
    shape: int, generator: np.random.Generator, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)
) -> NDArray[np.int16]:
    """Draw one volume of 48 millimeters a side, int16 ``(48 / spacing)``, about 0 to 1,200, with a lesion.

    The shape is an index of :data:`LESION_SHAPES`; spacing is in millimeters for each axis. Position, size, rotation
    and brightness of the lesion, tissue, vessels and noise are random.
    """
    return phantom_volume_with_mask(shape, generator, spacing)[0]


def phantom_volume_with_mask(
    shape: int, generator: np.random.Generator, spacing: tuple[float, float, float]
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw the volume of :func:`phantom_volume` and the mask of its lesion, uint8 of the same shape, 0 and 1."""
    axes = [np.arange(round(EXTENT / step)) * step + step / 2 for step in spacing]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    radius = generator.uniform(8.0, 11.0)
    center = generator.uniform(0.35 * EXTENT, 0.65 * EXTENT, 3)
    turned = (places - center) @ _rotation(generator, 180)
    depth = _depth(shape, turned, radius)
    lesion = _soft(depth)
    waves = [np.sin(2 * np.pi * (places @ generator.normal(0, 0.03, 3) + generator.random())) for _ in range(3)]
    tissue = 300 + 60 * np.sum(waves, axis=0)
    vessels = np.zeros_like(tissue)
    for _ in range(4):
        distance = np.linalg.norm(places - generator.uniform(0, EXTENT, 3), axis=-1)
        vessels = np.maximum(vessels, _soft(generator.uniform(1.5, 3.0) - distance))
    bright = generator.uniform(150, 400)
    values = tissue + bright * np.maximum(lesion, vessels) + generator.normal(0, 50, tissue.shape)
    rounded: NDArray[np.int16] = values.clip(0).round().astype(np.int16)
    return rounded, (depth > 0).astype(np.uint8)


def _depth(shape: int, places: Array, radius: float) -> Array:
    """Return the depth of points ``(..., 3)`` below the surface of a lesion at the origin, in millimeters."""
    distance = np.linalg.norm(places, axis=-1)
    depths: Array
    if shape == 0:
        depths = 0.85 * radius - distance
    elif shape == 1:
        depths = 0.25 * radius - np.abs(distance - radius)
    elif shape == 2:
        # Three bars: points near an axis, within the length of the bar.
        across = np.stack([np.linalg.norm(np.delete(places, axis, -1), axis=-1) for axis in range(3)])
        along = np.abs(np.moveaxis(places, -1, 0))
        depths = np.minimum(0.3 * radius - across, 1.3 * radius - along).max(0)
    else:
        apart = np.array([0.8 * radius, 0, 0])
        depths = 0.6 * radius - np.minimum(*(np.linalg.norm(places - side * apart, axis=-1) for side in (-1, 1)))
    return depths


def _rotation(generator: np.random.Generator, degrees: float) -> Array:
    """Return a rotation about each axis by a random angle up to a number of degrees."""
    rotation: Array = np.asarray(create_rotate(3, np.deg2rad(generator.uniform(-degrees, degrees, 3)).tolist()))[:3, :3]
    return rotation


def _soft(depth: Array) -> Array:
    """Return a smooth step from 0 outside to 1 inside, over about a millimeter on each side of the surface."""
    soft: Array = 1 / (1 + np.exp(-np.clip(2 * depth, -30, 30)))
    return soft


def _geometry(spacing: Array, generator: np.random.Generator) -> tuple[Array, Any]:
    """Return the affine of a slightly tilted volume, and a random permutation and direction of its axes."""
    affine = np.eye(4)
    affine[:3, :3] = _rotation(generator, 6) @ np.diag(spacing)
    affine[:3, 3] = generator.uniform(-100, 100, 3)
    own, wanted = (NIBABEL.orientations.axcodes2ornt(axes) for axes in ("RAS", str(generator.choice(AXES))))
    return affine, NIBABEL.orientations.ornt_transform(own, wanted)
