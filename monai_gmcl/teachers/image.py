# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A teacher that changes color and shape with a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.labels import label_vectors
from monai_gmcl.teachers.base import Teacher, whole_number
from monai_gmcl.teachers.noise_bank import DRAWS, bank_noise
from monai_gmcl.teachers.normal_latents import learned_gain, normal_latents, split_latents, squash
from monai_gmcl.teachers.operations import Warp
from monai_gmcl.teachers.operations.geometry import Elastic

__all__ = ["ImageTeacher"]

COLOR_BOUND = 1.5
OFFSET_PER_COLOR = 0.15
"""Standard deviation of the offset, as a fraction of the value range, for each unit of color mixing."""
WARP_BOUND = 0.06
"""Bound of the warp. Multiplied by the largest gain, it is .1 of the size, so that neighboring nodes keep their
order."""
RESIDUAL_BOUND = 0.3
RESIDUAL_NODES = {2: (4, 8, 16), 3: (4, 8)}
"""Lattice sizes of the residual's noise, by spatial dimensions."""
SMALLEST_SIDE = 3
"""Smallest image size; below it, the network's downsampled images have one value per channel, without a variance."""
SHIFT = 0.25
"""Largest shift by the network, in standard deviations of the amounts."""


class _Plan(NamedTuple):
    """The output of the network for each image of a batch: logits of gains, and shifts."""

    color: Tensor
    color_shift: Tensor
    warp: Tensor
    residual: Tensor
    residual_shift: Tensor


class ImageTeacher(Teacher):
    """Changes images with a network: color mixing, a residual image and a smooth warp.

    Each change has random amounts u, which depend on the latents z. The network sets their spread for each image:

        ``u = squash(difficulty * strength * z) * gain + shift``,  ``gain = 1.7 ** tanh(magnitude + network(x))``

    Color: ``m + o + exp(A) (x - m)`` with a C x C matrix A, an offset o and the image's channel means m; the axes along
    which (A, o) vary are learned, too (an orthogonal matrix). Residual: noise on lattices of several widths, with a
    weight for each pixel. Warp: a smooth displacement. ``squash`` bounds the amounts at high difficulty.

    Training cannot make the synthetic images of one source equal: a gain is between 1/1.7 and 1.7, and gains and shifts
    do not depend on the latents. (Gains that depend on the latents could cancel the changes.)

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of image channels C.
        num_classes: number of classes, or of labels for multi-label tasks.
        value_range: lowest and highest value of the (un-normalized) images.
        mean: per-channel mean that was subtracted from the images.
        std: per-channel standard deviation by which the images were divided.
        condition_on_label: whether the label is an input of the network. The changes of such a teacher can reveal the
            label, so that the student learns these changes instead of the image content: see
            ``monai_gmcl.metrics.label_leak``.
        color: strength of the color mixing: standard deviation of the entries of A.
        warp: strength of the warp: standard deviation of displacements, as a fraction of the size.
        residual: strength of the residual: its standard deviation, as a fraction of the value range.
        channels: width of the network.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``, one side at least 3; labels ``(B,)`` int64 or float ``(B,
        num_classes)``, ignored without ``condition_on_label``; latents ``(B, L)`` from :meth:`draw_latents`.

    Raises:
        ConfigurationError: a strength that is not positive, or channels below 4 or not a multiple of 4; in use, no
            images, too small images, or latents of another shape.
        LabelError: with ``condition_on_label``, labels that do not fit ``num_classes``.
    """

    masks_cannot_follow = "warps images by its network"

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        value_range: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        condition_on_label: bool = False,
        color: float = 0.5,
        warp: float = 0.025,
        residual: float = 0.05,
        channels: int = 16,
    ) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, value_range, mean, std)
        for name, strength in (("color", color), ("warp", warp), ("residual", residual)):
            if not 0 < strength < math.inf:
                raise ConfigurationError(f"{name} must be positive and finite, got {strength}.")
        if whole_number("channels", channels, 4) % 4:
            raise ConfigurationError(f"channels must be a positive multiple of 4, got {channels}.")
        self.color, self.warp, self.residual = float(color), float(warp), float(residual)
        self.condition_on_label = condition_on_label
        self.elastic = Elastic()
        nodes = RESIDUAL_NODES[spatial_dims]
        self.sizes = (
            in_channels * (in_channels + 1),
            self.elastic.count(spatial_dims),
            in_channels * sum(n**spatial_dims for n in nodes),
        )
        self.magnitude = nn.Parameter(torch.zeros(3))
        self.color_axes = nn.Parameter(torch.zeros(self.sizes[0], self.sizes[0]))
        self.network = _Network(
            spatial_dims, in_channels, num_classes if condition_on_label else 0, self.sizes, len(nodes), channels
        )

    def magnitudes(self) -> dict[str, float]:
        """Return the learned magnitude of each change relative to its initial value, without the network's factor."""
        gains = learned_gain(self.magnitude.detach()).tolist()
        return dict(zip(("color", "warp", "residual"), gains, strict=True))

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(n, L)``: normal numbers for color mixing, then four uniform numbers each for warp and residual."""
        color = normal_latents(self, n, self.sizes[0], image_shape, generator)
        uniform = torch.rand(n, 2 * DRAWS, generator=generator, device=color.device)
        return torch.cat([color, uniform], 1)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        """Mix colors, add the residual, warp the result."""
        assert images is not None
        if max(images.shape[2:]) < SMALLEST_SIDE:
            raise ConfigurationError(
                f"ImageTeacher needs images of at least {SMALLEST_SIDE} pixels along a side, got {tuple(images.shape)}."
            )
        low, high = self.value_range
        images = (images - low) / (high - low)
        for_color, of_warp, of_residual = split_latents(latents.to(images), [self.sizes[0], DRAWS, DRAWS])
        for_warp, for_residual = bank_noise(of_warp, self.sizes[1]), bank_noise(of_residual, self.sizes[2])
        vectors = label_vectors(labels, self.num_classes, images.dtype) if self.condition_on_label else None
        # half precision would round pixel values, and torch's matrix_exp is inaccurate in half precision
        device = images.device.type
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            plan = self.network(images, vectors)
            changed = self._mix_colors(images, for_color, plan, difficulty)
            changed = changed + self._draw_residual(for_residual, plan, difficulty)
            changed = self._warp(changed, for_warp, plan, difficulty)
        return changed * (high - low) + low

    def _mix_colors(self, images: Tensor, latents: Tensor, plan: _Plan, difficulty: float) -> Tensor:
        count = self.in_channels
        axes = torch.matrix_exp(self.color_axes - self.color_axes.T)
        spread = squash(difficulty * self.color * latents, COLOR_BOUND) * learned_gain(self.magnitude[0] + plan.color)
        shift = squash(difficulty * self.color * SHIFT * torch.tanh(plan.color_shift), SHIFT * COLOR_BOUND)
        amounts = spread @ axes + shift
        matrix = amounts[:, : count * count].view(-1, count, count) / math.sqrt(count)
        offset = amounts[:, count * count :] * OFFSET_PER_COLOR
        pixels = images.flatten(2)
        means = pixels.mean(2, keepdim=True)
        # the matrix exponential is never singular, so that mixing does not remove any contrast
        changed = means + offset[..., None] + torch.matrix_exp(matrix) @ (pixels - means)
        return changed.view_as(images)

    def _draw_residual(self, latents: Tensor, plan: _Plan, difficulty: float) -> Tensor:
        spatial_size = plan.residual_shift.shape[2:]
        nodes = RESIDUAL_NODES[self.spatial_dims]
        strength = difficulty * self.residual
        parts = split_latents(latents, [self.in_channels * n**self.spatial_dims for n in nodes])
        residual = squash(strength * SHIFT * torch.tanh(plan.residual_shift), SHIFT * RESIDUAL_BOUND)
        for n, part, logit in zip(nodes, parts, plan.residual.chunk(len(nodes), 1), strict=True):
            noise = part.view(-1, self.in_channels, *[n] * self.spatial_dims) / math.sqrt(len(nodes))
            noise = squash(strength * noise, RESIDUAL_BOUND)
            residual = residual + _resize(noise, spatial_size) * learned_gain(self.magnitude[2] + logit)
        return residual

    def _warp(self, images: Tensor, latents: Tensor, plan: _Plan, difficulty: float) -> Tensor:
        amounts = squash(difficulty * self.warp * latents, WARP_BOUND) * learned_gain(self.magnitude[1] + plan.warp)
        warp = self.elastic.displace(Warp.identity(images), amounts)
        return warp.sample(images)


class _Network(nn.Module):
    """Maps an image to the spread of its changes."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        latent_sizes: tuple[int, int, int],
        lattices: int,
        channels: int,
    ) -> None:
        super().__init__()
        widths = (in_channels, channels, 2 * channels, 2 * channels)
        self.blocks = nn.ModuleList(
            Convolution(
                spatial_dims,
                before,
                after,
                strides=2,
                adn_ordering="NA",
                act="SWISH",
                norm=("GROUP", {"num_groups": 4}),
            )
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        color, warp, _ = latent_sizes
        self.of_label = nn.Linear(num_classes, channels, bias=False) if num_classes else None
        self.head = nn.Linear(2 * channels, 2 * color + warp, bias=False)
        self.head_sizes = (color, color, warp)
        self.pixel_head = Conv[Conv.CONV, spatial_dims](
            3 * channels, in_channels * (lattices + 1), kernel_size=3, padding=1, bias=False
        )
        self.in_channels = in_channels

    def forward(self, images: Tensor, labels: Tensor | None) -> _Plan:
        shallow = self.blocks[0](images)
        if self.of_label is not None:
            shallow = shallow + self.of_label(labels).view(len(images), -1, *[1] * (images.ndim - 2))
        deep = self.blocks[2](self.blocks[1](shallow))
        color, color_shift, warp = torch.split(self.head(deep.flatten(2).mean(2)), list(self.head_sizes), 1)
        maps = self.pixel_head(torch.cat([shallow, _resize(deep, shallow.shape[2:])], 1))
        maps = _resize(maps, images.shape[2:])
        return _Plan(color, color_shift, warp, maps[:, self.in_channels :], maps[:, : self.in_channels])


def _resize(maps: Tensor, spatial_size: Sequence[int]) -> Tensor:
    mode = "bilinear" if maps.ndim == 4 else "trilinear"
    return functional.interpolate(maps, size=tuple(spatial_size), mode=mode, align_corners=False)
