# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The base class of teachers: checks, normalization, latents and labels."""

from __future__ import annotations

import inspect
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from monai_gmcl.exceptions import ConfigurationError, ImageRangeError

__all__ = ["Teacher", "draw_latents"]

PLAIN_LATENT_SIZE = 64
MOST = 10**6
"""Upper limit of numbers of channels, classes and similar counts; larger numbers are errors."""

TeacherT = TypeVar("TeacherT", bound="Teacher")


class Teacher(nn.Module, ABC):
    """Base class of teachers, which make labeled synthetic images from source images, labels and latents.

    All randomness is in the latents: the same arguments give the same bits.

    Args:
        spatial_dims: 2 for ``(B, C, H, W)``, 3 for ``(B, C, D, H, W)``.
        in_channels: number of image channels C.
        num_classes: number of classes, or of labels for multi-label tasks.
        value_range: lowest and highest value of the (un-normalized) images.
        mean: per-channel mean that was subtracted from the images. With ``std``, the teacher works on
            ``images * std + mean`` and normalizes again (z-scored volumes, ImageNet statistics).
        std: per-channel standard deviation by which the images were divided.

    Raises:
        ConfigurationError: an argument out of its range.
    """

    needs_images: bool = True
    masks_cannot_follow: ClassVar[str] = ""
    """Reason why the teacher cannot move masks, such as "warps images"; empty if it can, or if masks need not move."""
    mean: Tensor
    std: Tensor
    __signature__: ClassVar[inspect.Signature]
    config: dict[str, Any]
    """The constructor's arguments, recorded automatically; ``type(teacher)(**teacher.config)`` builds an equal
    teacher."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # without this line, help() and command lines would show the arguments of __new__
        of_init = inspect.signature(cls.__init__)
        cls.__signature__ = of_init.replace(parameters=list(of_init.parameters.values())[1:])

    def __new__(cls: type[TeacherT], *args: Any, **kwargs: Any) -> TeacherT:
        teacher = super().__new__(cls)
        # copy and pickle call __new__ without arguments, and then restore the attributes, including ``config``
        teacher.__dict__["config"] = _constructor_arguments(cls, args, kwargs)
        return teacher

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        value_range: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ConfigurationError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
        counts = (whole_number("in_channels", in_channels), whole_number("num_classes", num_classes))
        spatial_dims, (in_channels, num_classes) = int(spatial_dims), counts
        low, high = value_range
        if not -math.inf < low < high < math.inf:
            raise ConfigurationError(
                f"value_range must be (low, high), finite and with low < high, got {tuple(value_range)}."
            )
        if (mean is None) != (std is None):
            raise ConfigurationError("mean and std must both be given, or neither.")
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) not in (1, in_channels):
                raise ConfigurationError(f"{name} must have 1 or {in_channels} values, got {len(values)}.")
            if values is not None and not all(map(math.isfinite, values)):
                raise ConfigurationError(f"{name} must be finite, got {tuple(values)}.")
        if std is not None and min(std) <= 0:
            raise ConfigurationError(f"std must be positive, got {tuple(std)}.")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.value_range = (float(low), float(high))
        shape = (1, -1) + (1,) * spatial_dims
        self.register_buffer("mean", torch.tensor([0.0] if mean is None else list(mean)).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor([1.0] if std is None else list(std)).view(shape), persistent=False)

    @abstractmethod
    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Draw random latents for ``n`` images.

        Args:
            n: number of images.
            image_shape: ``(C, H, W)`` or ``(C, D, H, W)`` of one image.
            generator: random generator. Latents are on its device (default: CPU).

        Returns:
            Float tensor ``(n, L)``.
        """

    @abstractmethod
    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        """Return changed images; inputs and outputs are within ``value_range``. ``forward`` handles normalization."""

    def change_labels(self, labels: Tensor, latents: Tensor, difficulty: float = 1.0) -> Tensor:
        """Return the labels of the images that :meth:`forward` makes with the same latents; here, unchanged labels.

        A teacher that moves the pixels of images must override this method and move the pixels of masks in the same
        way, or state the reason why it cannot in ``masks_cannot_follow``.

        Args:
            labels: labels ``(B,)`` or ``(B, K)``, or masks ``(B, 1, *spatial)`` of class indices or ``(B, K,
                *spatial)`` with one channel for each class.
            latents: ``(B, L)`` from :meth:`draw_latents`.
            difficulty: strength of the change, at least 0.

        Returns:
            Labels of the same shape and type. A mask contains only values that it had before, and the padding value, if
            the teacher has one.

        Raises:
            ConfigurationError: labels are masks, and the teacher cannot move masks.
        """
        if labels.ndim > 2 and self.masks_cannot_follow:
            raise ConfigurationError(
                f"{type(self).__name__} {self.masks_cannot_follow}: masks of shape {tuple(labels.shape)} cannot be "
                "transformed with it. Use PolicyTeacher, which transforms masks, or a teacher without geometric "
                "changes, such as StainTeacher."
            )
        return labels

    def forward(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float = 1.0) -> Tensor:
        """Make a lesson: labeled synthetic images.

        Args:
            images: sources ``(B, C, H, W)`` or ``(B, C, D, H, W)``; None if ``needs_images`` is False.
            labels: labels of the sources: ``(B,)`` int64 classes, ``(B, K)`` float, or masks ``(B, K, *spatial)``.
            latents: ``(B, L)`` from :meth:`draw_latents`.
            difficulty: strength of the change, at least 0; 1 is the usual strength.

        Returns:
            Images with the shape and normalization of the sources, within ``value_range`` before normalization. At
            difficulty 0, a teacher that needs images returns the sources unchanged.

        Raises:
            ConfigurationError: a negative difficulty, or no images for a teacher that needs images.
        """
        if not difficulty >= 0:
            raise ConfigurationError(f"difficulty must be at least 0, got {difficulty}.")
        if images is None and self.needs_images:
            raise ConfigurationError(f"{type(self).__name__} changes images and needs sources, got None.")
        if difficulty == 0 and self.needs_images and images is not None:
            return images
        low, high = self.value_range
        if images is not None:
            images = (images * self.std + self.mean).clamp(low, high)
        changed = self.change(images, labels, latents, difficulty).clamp(low, high)
        normalized: Tensor = (changed - self.mean) / self.std
        return normalized

    def optimizer(self) -> Optimizer:
        """Return a new optimizer for the teacher: Adam with learning rate 1e-3, unless a subclass overrides it."""
        return torch.optim.Adam(self.parameters(), lr=1e-3, betas=(0.9, 0.99))

    def extremes(self, images: Tensor) -> tuple[float, float]:
        """Return the lowest and the highest value of images ``(B, C, ...)`` before normalization."""
        ends = self.extremes_of_each(images)
        least, most = torch.stack([ends[:, 0].min(), ends[:, 1].max()]).tolist()
        return least, most

    def extremes_of_each(self, images: Tensor) -> Tensor:
        """Return the lowest and the highest value of each image ``(B, C, ...)`` before normalization: ``(B, 2)``."""
        # Normalization is reversed for the extremes of a channel, not for all pixels, because trainers check every
        # batch.
        flat = images.detach().flatten(2)
        ends = torch.stack([flat.amin(2), flat.amax(2)])
        values = ends * self.std.flatten().to(images) + self.mean.flatten().to(images)
        return torch.stack([values[0].amin(1), values[1].amax(1)], 1)

    def check_shape(self, image_shape: Sequence[int]) -> None:
        """Raise unless an image ``(C, *spatial)`` has the teacher's channels and spatial dimensions, and is not empty.

        Raises:
            ConfigurationError: the shape is wrong; the message has both shapes.
        """
        if len(image_shape) != self.spatial_dims + 1 or image_shape[0] != self.in_channels or 0 in image_shape:
            raise ConfigurationError(
                f"{type(self).__name__} was built for channel-first images of {self.in_channels} channel(s) and "
                f"{self.spatial_dims} spatial dimensions, got an image of shape {tuple(image_shape)}."
            )

    def check_range(self, images: Tensor) -> None:
        """Raise unless the images before normalization are within ``value_range``.

        Raises:
            ImageRangeError: with the remedy.
        """
        self.check_extremes(*self.extremes(images))

    def check_extremes(self, least: float, most: float) -> None:
        """Raise unless the lowest and the highest value of an image before normalization are within ``value_range``.

        Raises:
            ImageRangeError: with the remedy.
        """
        low, high = self.value_range
        slack = 0.01 * (high - low)
        if least < low - slack or most > high + slack:
            raise ImageRangeError(
                f"Expected images with values from {low:g} to {high:g} (the teacher's value_range), got {least:.4g} to "
                f"{most:.4g}. Scale the images, build the teacher with another value_range, or give it the mean and "
                "std by which the images were normalized."
            )


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """Return a count as an integer; ConfigurationError unless it is an integer from ``least`` to a million."""
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if isinstance(value, bool) or not least <= count <= MOST:
        raise ConfigurationError(
            f"{name} must be a whole number, at most {MOST:,} and at least {least}, got {value!r}."
        )
    return count


def _constructor_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(cls)
    named: dict[str, Any] = {}
    for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def draw_latents(
    teacher: nn.Module, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None
) -> Tensor:
    """Draw latents with the teacher's ``draw_latents``; a plain module without this method gets normal ``(n, 64)``."""
    own = getattr(teacher, "draw_latents", None)
    if own is None:
        return torch.randn(n, PLAIN_LATENT_SIZE, generator=generator)
    latents: Tensor = own(n, image_shape, generator)
    return latents
