# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Classes, preprocessing and task of a trained student, saved with its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from monai_gmcl.exceptions import ConfigurationError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TASKS", "StudentDescription"]

TASKS = ("classification", "multi_label", "segmentation")
"""One class per image (softmax), several labels per image (sigmoid), or one class per pixel (softmax)."""

LARGEST = {2: 2**26, 3: 2**29}
"""Largest number of pixels or voxels of a student's input; a file with a larger number is not valid."""
MOST_CHANNELS = 2**16


@dataclass(frozen=True)
class StudentDescription:
    """Preprocessing of a student's images, and meaning of its outputs.

    Attributes:
        class_names: names of the outputs, in their order.
        spatial_dims: 2 for images, 3 for volumes.
        channels: number of channels of the images.
        image_size: size to which images are resized, one number for each side, or one number for all. None: no
            resizing.
        image_crop: size of the center crop before resizing, in the same form. None: no crop.
        spacing: voxel spacing in millimeters to which volumes are resampled. None: no resampling.
        intensity_range: range that is mapped to [0, 1]. None: see :func:`monai_gmcl.data.image_transforms`.
        task: one of :data:`TASKS`.
        patch_size: size of the sliding windows in segmentation, in the form of ``image_size``. None: whole images.
        split: settings of the data split, by the names of the bundle's settings.
        source: the file from which the description was read.

    Raises:
        ConfigurationError: an invalid value.
    """

    class_names: Sequence[str]
    spatial_dims: int
    channels: int
    image_size: Sequence[int] | None = None
    image_crop: Sequence[int] | None = None
    spacing: Sequence[float] | None = None
    intensity_range: Sequence[float] | None = None
    task: str = "classification"
    patch_size: Sequence[int] | None = None
    split: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigurationError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}.")
        if self.spatial_dims not in (2, 3):
            raise ConfigurationError(f"spatial_dims must be 2 or 3, got {self.spatial_dims!r}.")
        for name in (entry.name for entry in fields(self)):
            object.__setattr__(self, name, _normalized(name, getattr(self, name), self.spatial_dims))
        if not self.class_names or len(set(self.class_names)) < len(self.class_names):
            raise ConfigurationError(f"class_names must be distinct names, at least one, got {self.class_names!r}.")

    @property
    def num_classes(self) -> int:
        """Number of outputs."""
        return len(self.class_names)

    def check(self, **given: Any) -> None:
        """Raise if a user's values differ from those of the student's training.

        Args:
            given: attributes by name, and ``num_classes``, as passed by the user.

        Raises:
            ConfigurationError: values differ; the message names all of them.
        """
        differing = []
        for name, value in given.items():
            own = getattr(self, name)
            if _normalized(name, value, self.spatial_dims) != own:
                differing.append(f"{name} is {_shown(value)}, in the training it was {_shown(own)}")
        if differing:
            place = f" of {self.source}" if self.source else ""
            raise ConfigurationError(
                f"{'; '.join(differing)}. Settings of the training{place} cannot be changed. Remove the setting, "
                "correct the data, or use the file of another training."
            )

    def check_patches(self, network: nn.Module) -> None:
        """Raise unless a network makes masks of the size of its patches, as it does not of every size.

        Raises:
            ConfigurationError: naming the size.
        """
        import torch

        if self.patch_size is None:
            return
        size, training = tuple(self.patch_size), network.training
        image = torch.zeros(1, self.channels, *size).to(next(network.parameters(), torch.empty(0)).device)
        try:
            with torch.no_grad():
                made = tuple(network.eval()(image).shape[2:])
            found = "" if made == size else f"masks of {_shown(made)}"
        except (AssertionError, RuntimeError, ValueError) as error:
            found = f"an error ({' '.join(str(error).split())[:200]})"
        finally:
            network.train(training)
        if found:
            raise ConfigurationError(
                f"patch_size: expected a size of which the network makes masks of the same size, got {_shown(size)}, "
                f"of which it makes {found}. Use a multiple of the product of the network's strides (4 for the "
                "bundle's network)."
            )

    def told(self) -> dict[str, Any]:
        """Return all attributes except ``source``, as plain values."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "source"}

    def reading(self) -> dict[str, Any]:
        """Return the preprocessing of images, by the names of the bundle's settings."""
        return {name: getattr(self, name) for name in ("image_crop", "image_size", "spacing", "intensity_range")}


def _normalized(name: str, value: Any, spatial_dims: int) -> Any:
    """Return values in a normalized form, so that 64 and [64, 64] are the same size."""
    if name == "class_names":
        # fire passes a single name as a string, and numbers as numbers
        return [str(item) for item in (value if isinstance(value, list | tuple) else [value])]
    if name in ("channels", "num_classes", "spatial_dims"):
        number: int = _numbers(name, [value], 1, whole=True)[0]
        if number > MOST_CHANNELS:
            raise ConfigurationError(f"{name} must be at most {MOST_CHANNELS:,}, got {value!r}.")
        return number
    if value is None or name in ("task", "source"):
        return value
    if name == "split":
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"split must be a mapping of settings, got {value!r}.")
        return dict(value)
    values = list(value) if isinstance(value, list | tuple) else [value] * spatial_dims
    if name == "intensity_range":
        found = _numbers(name, value if isinstance(value, list | tuple) else [], -math.inf)
        if len(found) != 2 or not found[0] < found[1]:
            raise ConfigurationError(f"intensity_range must be the lowest and the highest value, got {value!r}.")
        return found
    found = _numbers(name, values, 0 if name == "spacing" else 1, whole=name != "spacing")
    if name == "spacing" and 0 in found:
        raise ConfigurationError(f"spacing must be above 0, got {value!r}.")
    if len(found) != spatial_dims:
        raise ConfigurationError(f"{name} must be one number or {spatial_dims}, got {value!r}.")
    if name != "spacing" and math.prod(found) > LARGEST[spatial_dims]:
        raise ConfigurationError(f"{name} must be of at most {LARGEST[spatial_dims]:,} pixels, got {value!r}.")
    return found


def _numbers(name: str, values: Sequence[Any], least: float, whole: bool = False) -> list[Any]:
    for value in values:
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or value < least or not abs(value) < math.inf or (whole and value > LARGEST[3]):
            kind = "a whole number of at least 1" if whole else "a finite number"
            raise ConfigurationError(f"{name} must be {kind}, got {value!r}.")
    return [value if whole else float(value) for value in values]


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return "not given" if value is None else str(value)
