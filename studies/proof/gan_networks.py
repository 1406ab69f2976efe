# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The two networks of the class-conditional GAN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["ConditionalGenerator", "ProjectionDiscriminator"]

LARGEST_START = 7
"""Side, in pixels, from which the generator starts: 4 for images of 32, 7 for images of 28."""


class ConditionalGenerator(nn.Module):
    """Makes images from labels and normal latents of length ``latent_size``.

    A linear map of the latent, then one transposed convolution for each doubling, each after batch normalization whose
    gain and offset belong to the class (Dumoulin et al. 2017, arXiv 1610.07629), and a sigmoid.

    Args:
        image_shape: ``(C, *spatial)``, two or three spatial dimensions.
        num_classes: number of classes.
        channels: width before the last layer; every layer before it has twice its successor's.

    Shape:
        latents ``(B, 64)``, labels int64 ``(B,)``; result ``(B, C, *spatial)``, from 0 to 1.
    """

    latent_size = 64

    def __init__(self, image_shape: Sequence[int], num_classes: int, channels: int) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        spatial = self.image_shape[1:]
        doublings = _doublings(spatial)
        widths = [channels * 2 ** (doublings - 1 - i) for i in range(doublings)] + [self.image_shape[0]]
        self.start = (widths[0], *(-(-side // 2**doublings) for side in spatial))
        self.first = nn.Linear(self.latent_size, torch.Size(self.start).numel())
        self.norms = nn.ModuleList(_ClassNorm(len(spatial), width, num_classes) for width in widths[:-1])
        up = Conv[Conv.CONVTRANS, len(spatial)]
        self.layers = nn.ModuleList(
            up(wide, narrow, kernel_size=4, stride=2, padding=1)
            for wide, narrow in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Generate one image for each latent and label."""
        x = self.first(latents).view(-1, *self.start)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = layer(torch.relu(norm(x, labels)))
        return torch.sigmoid(x[tuple(map(slice, (len(x), *self.image_shape)))])


class ProjectionDiscriminator(nn.Module):
    """Says how real an image of a class looks: above 0 real, below 0 generated.

    Convolutions that halve the size, features h summed over the image, and ``w.h + v_y.h`` (Miyato and Koyama 2018,
    arXiv 1802.05637); every layer's spectral norm is held at 1 (Miyato et al. 2018, arXiv 1802.05957).

    Args:
        image_shape: ``(C, *spatial)``.
        num_classes: number of classes.
        channels: width after the first layer; every later layer has twice its predecessor's.

    Shape:
        images ``(B, C, *spatial)``, labels int64 ``(B,)``; result ``(B,)``.
    """

    def __init__(self, image_shape: Sequence[int], num_classes: int, channels: int) -> None:
        super().__init__()
        spatial = tuple(image_shape[1:])
        halvings = _doublings(spatial)
        widths = [image_shape[0], *(channels * 2**i for i in range(halvings))]
        down = Conv[Conv.CONV, len(spatial)]
        layers: list[nn.Module] = []
        for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
            layers += [spectral_norm(down(narrow, wide, kernel_size=4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
        layers += [spectral_norm(down(widths[-1], widths[-1], kernel_size=3, padding=1)), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.head = spectral_norm(nn.Linear(widths[-1], 1))
        self.classes = spectral_norm(nn.Embedding(num_classes, widths[-1]))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge images, each as one of its class."""
        features = self.body(2 * images - 1).flatten(2).sum(2)
        score: Tensor = self.head(features)[:, 0] + (self.classes(labels) * features).sum(1)
        return score


class _ClassNorm(nn.Module):
    def __init__(self, dimensions: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.norm = Norm[Norm.BATCH, dimensions](width, affine=False)
        self.gain = nn.Embedding(num_classes, width)
        self.offset = nn.Embedding(num_classes, width)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        shape = (len(x), -1, *[1] * (x.ndim - 2))
        found: Tensor = self.norm(x) * self.gain(labels).view(shape) + self.offset(labels).view(shape)
        return found


def _doublings(spatial: Sequence[int]) -> int:
    count = 1
    while -(-max(spatial) // 2**count) > LARGEST_START:
        count += 1
    return count
