# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tasks on real images with new labels, so that each forbids some operations; and controls with their own labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.students import small_resnet
from monai_gmcl.data import make_phantom
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.optical_density import combine_stains, separate_stains
from studies.policies.students import pretrained_student

__all__ = ["TASKS", "Task", "TaskData", "task_data"]

SIZE = 20
CHOOSING = 300
MEASURED = 2000
DRAWN = "/tmp/gmcl_studies"
PHANTOM = {"train": 600, "valid": 75, "test": 250}
"""Drawn images of each class."""

Change = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images ``(N, C, H, W)``, classes 0 and 1 ``(N,)`` and normal numbers ``(N, 2)`` to images of those classes."""


@dataclass(frozen=True)
class Task:
    """A binary task.

    Attributes:
        title: as the report calls it.
        source: ``pcam``, ``pneumonia`` or ``phantom``.
        change: makes the new label true; None keeps the data set's own labels.
        harmful: operations that make the label false.
        unclear: operations that may or may not; left out of the reading of shares.
        size: sides of the student's images.
        make_network: makes the student.
        steps: student steps of GMCL.
    """

    title: str
    source: str
    change: Change | None = None
    harmful: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    size: int = SIZE
    make_network: Callable[[DataOptions], nn.Module] = small_resnet
    steps: int = 800

    @property
    def is_control(self) -> bool:
        """Whether the labels are the data set's own."""
        return self.change is None

    @property
    def learning_rate(self) -> float:
        """The student's: of controls, the one of the comparisons."""
        return 4e-4 if self.is_control else 2e-3

    @property
    def upright(self) -> bool:
        """Whether images have an up and a down."""
        return self.source == "pneumonia"

    def options(self, data_dir: str | Path) -> DataOptions:
        """Return what the student's images are like."""
        centered = self.is_control and self.source == "pcam"
        phantom = self.source == "phantom"
        return DataOptions(
            f"{DRAWN if phantom else data_dir}/{self.source}",
            1 if self.upright else 3,
            # As in the comparisons.
            crop=64 if centered else None,
            size=self.size,
            upright=self.upright,
            centered=centered,
            classes=4 if phantom else 2,
        )

    def source_options(self, data_dir: str | Path) -> DataOptions:
        """Return how the source is read: for a change, at twice the size, so that what is changed is sharp."""
        own = self.options(data_dir)
        return own if self.is_control else replace(own, size=2 * self.size)


def _stain(images: Tensor, classes: Tensor, normal: Tensor) -> Tensor:
    """Stained more weakly or more strongly: optical density times ``exp(-+.25)``, give or take .1."""
    factor = (0.5 * (classes - 0.5) + 0.1 * normal[:, 0]).exp()
    return combine_stains(separate_stains(images) * factor.view(-1, 1, 1, 1))


def _contrast(images: Tensor, classes: Tensor, normal: Tensor) -> Tensor:
    """Less or more contrast about the image's mean: ``exp(-+.15)``, give or take .1."""
    factor = (0.3 * (classes - 0.5) + 0.1 * normal[:, 0]).exp().view(-1, 1, 1, 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp(0, 1)


def _turned(images: Tensor, classes: Tensor, normal: Tensor) -> Tensor:
    """Turned to the left or to the right by 6 degrees, give or take 4."""
    degrees = 6 * (2 * classes - 1) + 4 * normal[:, 0]
    return _affine(images, torch.deg2rad(degrees), torch.ones_like(degrees))


def _mirrored(images: Tensor, classes: Tensor, normal: Tensor) -> Tensor:
    """A part of the image, magnified 1.8 times, as it is or mirrored."""
    parts = _affine(images, torch.zeros(len(images)), torch.full((len(images),), 1.8), 0.2 * normal)
    return torch.where(classes.view(-1, 1, 1, 1) > 0, parts.flip(-1), parts)


def _focus(images: Tensor, classes: Tensor, normal: Tensor) -> Tensor:
    """Blurred a little or more: by 0.8 or 1.3 pixels of the doubled size, give or take a fifth."""
    sigma = torch.where(classes > 0, 1.3, 0.8) * (0.2 * normal[:, 0]).exp()
    radius = torch.arange(-6, 7, dtype=images.dtype)
    kernel = torch.exp(-(radius**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)[:, None]
    flat = functional.pad(images.reshape(1, -1, *images.shape[2:]), (6, 6, 6, 6), mode="reflect")
    rows = functional.conv2d(flat, kernel[..., None], groups=flat.shape[1])
    return functional.conv2d(rows, kernel[:, :, None], groups=flat.shape[1]).view_as(images)


def _scale(images: Tensor, classes: Tensor, normal: Tensor) -> Tensor:
    """Magnified less or more: by 1 or 1.8, give or take a tenth."""
    zoom = torch.where(classes > 0, 1.8, 1.0) * (0.1 * normal[:, 0]).exp()
    return _affine(images, torch.zeros_like(zoom), zoom)


def _affine(images: Tensor, angle: Tensor, zoom: Tensor, shift: Tensor | None = None) -> Tensor:
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    x, y = (torch.zeros_like(angle),) * 2 if shift is None else shift.unbind(1)
    theta = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(
        0, 1
    )


TASKS: dict[str, Task] = {
    "stain": Task(
        "grade of stain", "pcam", _stain, ("brightness", "gamma"), ("channel_gain", "contrast", "saturation")
    ),
    "contrast": Task("grade of contrast", "pcam", _contrast, ("contrast",), ("gamma", "saturation", "blur", "noise")),
    "turned": Task("which way it is turned", "pneumonia", _turned, ("rotation",), ("shear", "flip", "quarter_turn")),
    "mirrored": Task("itself or its mirror image", "pneumonia", _mirrored, ("flip",), ("quarter_turn",)),
    "focus": Task("focus", "pcam", _focus, ("blur",), ("noise",)),
    "scale": Task("scale", "pcam", _scale, ("zoom",), ("blur",)),
    "pcam": Task("control: tumor in the center", "pcam", size=32),
    "pneumonia": Task("control: pneumonia", "pneumonia", size=28),
    "phantom": Task("control: grade of the phantom", "phantom", size=32),
    "pcam_pretrained": Task(
        "control: tumor in the center, pretrained student",
        "pcam",
        size=64,
        make_network=pretrained_student,
        steps=150,
    ),
}


class TaskData:
    """The images of a task, in memory.

    A part's images get their class and what varies within it once, by the part's name, whatever the run's seed.

    Args:
        name: in :data:`TASKS`.
        data_dir: folder with ``pcam`` and ``pneumonia``; the phantom is drawn elsewhere, once.

    Raises:
        DataError: naming what is missing in the folder.
    """

    def __init__(self, name: str, data_dir: str | Path) -> None:
        self.name, self.task = name, TASKS[name]
        if self.task.source == "phantom":
            make_phantom(f"{DRAWN}/phantom", PHANTOM)
        self.options = self.task.options(data_dir)
        self._source = _read(self.task.source_options(data_dir))
        self._parts: dict[str, Images] = {}

    def read(self, *parts: str) -> None:
        """Make ``train``, ``valid`` and other parts now rather than when they are asked for."""
        for part in ("train", "valid", *parts):
            self._part(part)

    def draw(self, n: int, seed: int) -> tuple[Images, Images]:
        """Return the labeled images of a seed, and images of ``train`` that it did not draw.

        Args:
            n: how many, of each class as many; where classes cannot share them evenly, the first ones get one more.
            seed: draws them.

        Raises:
            ConfigurationError: more than there are.
        """
        images, labels = self._part("train")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(labels), generator=generator)
        classes = self.options.classes
        wanted = [n // classes + (c < n % classes) for c in range(classes)]
        counts = torch.bincount(labels, minlength=classes).tolist()
        # An image of each class, at least, to measure on.
        if min(wanted) < 1 or any(one >= count for one, count in zip(wanted, counts, strict=True)):
            raise ConfigurationError(
                f"Task {self.name!r}: expected n of {classes} images or more that leaves some of each class to measure "
                f"on, got {n}; the classes have {', '.join(map(str, counts))} images."
            )
        drawn = torch.cat([order[labels[order] == c][: wanted[c]] for c in range(classes)])
        kept = torch.ones(len(labels), dtype=torch.bool)
        kept[drawn] = False
        rest = order[kept[order]][:MEASURED]
        return (images[drawn], labels[drawn]), (images[rest], labels[rest])

    @property
    def choosing(self) -> Images:
        """The images of ``valid`` by which a checkpoint is chosen."""
        images, labels = self._part("valid")
        return images[:CHOOSING], labels[:CHOOSING]

    @property
    def test(self) -> Images:
        """The images of ``test``, to be read once, at the end."""
        return self._part("test")

    def _part(self, name: str) -> Images:
        if name not in self._parts:
            self._parts[name] = self._relabel(name)
        return self._parts[name]

    def _relabel(self, part: str) -> Images:
        source = self._source
        images, labels = {"train": source._train, "valid": source._valid}.get(part) or source.split(part)
        if self.task.change is None:
            return images, labels
        key = int.from_bytes(f"{self.name} {part}".encode(), "big") % 2**63
        generator = torch.Generator().manual_seed(key)
        classes = torch.arange(len(images))[torch.randperm(len(images), generator=generator)] % 2
        normal = torch.randn(len(images), 2, generator=generator)
        changed = self.task.change(images, classes, normal)
        return functional.avg_pool2d(changed, 2), classes


@cache
def task_data(name: str, data_dir: str) -> TaskData:
    """Return the images of a task, the same object each time."""
    return TaskData(name, data_dir)


@cache
def _read(options: DataOptions) -> BenchmarkData:
    """Tasks of one source share it."""
    source = BenchmarkData(options)
    source.read()
    return source
