# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A teacher that generates images from labels and latents alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets.generator import Generator
from torch import Tensor
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.labels import label_vectors
from monai_gmcl.teachers.base import Teacher, whole_number
from monai_gmcl.teachers.normal_latents import normal_latents, split_latents

__all__ = ["LatentTeacher"]

LARGEST_START = 8
"""Side length in pixels with which the generator starts."""


class LatentTeacher(Teacher):
    """Generates images from labels and latents alone, without source images.

    ``sigmoid(Generator([label; difficulty * z / sqrt(latent_size)]))``, scaled to ``value_range``. MONAI's
    ``Generator`` starts with a linear map of the vector to at most 8 pixels per side, and doubles the size until it
    reaches ``image_size``; other sizes are resampled. Difficulty 0 is not the identity: it gives one image for each
    class. Only the hypergradient makes the images similar to real images, and nothing keeps them diverse: monitor
    ``monai_gmcl.metrics.teacher_diversity``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of image channels C.
        num_classes: number of classes, or of labels for multi-label tasks.
        image_size: spatial size of the images, one number for all sides or one for each.
        value_range: lowest and highest value of the (un-normalized) images.
        mean: per-channel mean that is subtracted from the images.
        std: per-channel standard deviation by which the images are divided.
        latent_size: length of a latent.
        channels: width of the generator's second-last layer; earlier layers are up to four times wider.

    Shape:
        labels ``(B,)`` int64 or ``(B, num_classes)`` float; latents ``(B, latent_size)``, normal; result
        ``(B, C, *image_size)``.

    Raises:
        ConfigurationError: sizes below 2, or sizes that do not fit ``spatial_dims``; in use, latents of another shape,
            or source images of another size.
        LabelError: labels that do not fit ``num_classes``.
    """

    needs_images = False
    masks_cannot_follow = "makes images from labels and latents"

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        image_size: int | Sequence[int],
        value_range: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        latent_size: int = 64,
        channels: int = 16,
    ) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, value_range, mean, std)
        size = (image_size,) * spatial_dims if isinstance(image_size, int | float) else tuple(image_size)
        if len(size) != spatial_dims:
            raise ConfigurationError(f"image_size must be {spatial_dims} numbers, at least 2, got {image_size}.")
        size = tuple(whole_number("image_size", side, 2) for side in size)
        latent_size, channels = whole_number("latent_size", latent_size), whole_number("channels", channels)
        self.image_size = size
        self.latent_size = latent_size
        doublings = 0
        while -(-max(size) // 2**doublings) > LARGEST_START:
            doublings += 1
        widths = [channels * min(4, 2 ** (doublings - 1 - i)) for i in range(doublings)]
        self.generator = Generator(
            latent_shape=(num_classes + latent_size,),
            start_shape=(4 * channels, *(-(-side // 2**doublings) for side in size)),
            channels=[*widths, in_channels],
            strides=[2] * doublings + [1],
            num_res_units=1,
        )

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Draw normal latents ``(n, latent_size)``; ``image_shape`` must be the shape of the generated images."""
        latents = normal_latents(self, n, self.latent_size, image_shape, generator)
        if tuple(image_shape[1:]) != self.image_size:
            raise ConfigurationError(
                f"LatentTeacher was built with image_size {self.image_size}, got images of shape {tuple(image_shape)}: "
                "real and synthetic images must have one size."
            )
        return latents

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        """Generate images; sources are ignored."""
        (latents,) = split_latents(latents, [self.latent_size])
        vectors = label_vectors(labels, self.num_classes, latents.dtype)
        # label and latents have the same length at difficulty 1
        spread = difficulty / math.sqrt(self.latent_size)
        logits = self.generator(torch.cat([vectors, spread * latents], 1))
        if tuple(logits.shape[2:]) != self.image_size:
            mode = "bilinear" if self.spatial_dims == 2 else "trilinear"
            logits = functional.interpolate(logits, self.image_size, mode=mode, align_corners=False)
        low, high = self.value_range
        return low + (high - low) * torch.sigmoid(logits)
